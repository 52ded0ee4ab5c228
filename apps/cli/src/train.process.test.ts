import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Summary } from './run/summary.ts';
import { tinyRun, TinyRuns } from './testing/tiny-run.testing.ts';

const timeoutMs = 300_000;
const accelerator = 'wasm';

describe('train', { timeout: timeoutMs }, () => {
  const runs = new TinyRuns(accelerator);
  const { place } = runs;
  const summaryOf = (name: string): Summary =>
    JSON.parse(readFileSync(runs.path(name, 'summary.json'), 'utf8')) as Summary;

  beforeAll(async () => {
    const { code, stdout } = await runs.train('run');
    expect(stdout).toMatch(/test accuracy +: \d+\.\d\d % \(\d+ of 41\)/);
    expect(code).toBe(0);
  }, timeoutMs);
  afterAll(() => place.dispose());

  test('leaves a run folder with options, metrics, checkpoints, the model and a summary', () => {
    expect(readdirSync(runs.path('run')).sort()).toEqual([
      'checkpoints',
      'config.json',
      'config.yaml',
      'metrics.csv',
      'model',
      'summary.json',
      'tokenizer',
    ]);
    expect(readdirSync(runs.path('run', 'model')).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const summary = summaryOf('run');
    expect(summary).toMatchObject({
      steps: tinyRun.steps,
      microBatches: tinyRun.microBatches,
      strategy: 'accumulate',
      accelerator,
      precision: '32-true',
    });
    for (const part of ['train', 'validation', 'test'] as const) {
      expect(summary.accuracy[part]).toBeGreaterThanOrEqual(0);
      expect(summary.accuracy[part]).toBeLessThanOrEqual(1);
    }
    expect(summary.accuracy.test).toBe(summary.counts.test.correct / tinyRun.testTexts);
    expect(summary.counts.test.total).toBe(tinyRun.testTexts);
    expect(summary.elapsedSeconds).toBeGreaterThan(0);
    expect(summary.peakMemoryBytes).toBeGreaterThan(2 ** 20);
    const rows = readFileSync(runs.path('run', 'metrics.csv'), 'utf8').trim().split('\n');
    expect(rows[0]).toMatch(/^micro_batch,step,epoch,loss,lr/);
    expect(rows.map((row) => row.split(',')[0]).slice(1, 9)).toEqual(['7', '14', '21', '28', '35', '42', '49', '53']);
  });

  test('learns', () => {
    const { first, last } = summaryOf('run').loss;
    expect(last).toBeLessThan(first as number);
  });

  test('with the saved options gives the same bytes again', async () => {
    const { code } = await place.run(['train', `--config=${runs.path('run', 'config.yaml')}`, '--run-name=again']);
    expect(code).toBe(0);
    expect(runs.finalState('again')).toEqual(runs.finalState('run'));
  });

  test('goes on with a pretrained folder, with the recipe for those', async () => {
    const { code, stdout } = await place.run([
      ...[
        'train',
        '--model=runs/run/model',
        '--data=jsonl',
        '--data-path=data',
        '--max-steps=2',
        '--run-name=tuned',
        `--accelerator=${accelerator}`,
      ],
    ]);
    expect(stdout).toMatch(/recipe: pretrained model/);
    expect(code).toBe(0);
    expect(summaryOf('tuned')).toMatchObject({ steps: 2, microBatches: 32 });
  });

  test('stops with a clear error when the loss is no longer finite', async () => {
    const { code, stderr } = await runs.train('diverged', '--lr=1e30', '--warmup-steps=0', '--max-skipped-steps=3');
    expect(stderr).toMatch(/error: Stopped after 3 skipped steps in a row[^]*Lower the learning rate/);
    expect(code).toBe(1);
  });

  test('whose only step ruins the weights has failed too', async () => {
    const { code, stderr } = await runs.train('ruined', '--lr=1e30', '--warmup-steps=0', '--max-steps=1');
    expect(stderr).toMatch(/error: The model gives logits that are NaN or infinite[^]*--lr/);
    expect(code).toBe(1);
    expect(readdirSync(runs.path('ruined'))).not.toContain('model');
  });

  test('whose last steps were skipped has failed, however few they are, and leaves no model', async () => {
    const { code, stderr } = await runs.train(
      'spoiled',
      '--lr=1e30',
      '--warmup-steps=0',
      '--epochs=1',
      '--max-skipped-steps=99',
    );
    expect(stderr).toMatch(
      /error: The last \d+ steps were skipped[^]*no model is saved\. Lower --lr, set --clip-norm[^]*stays in .*checkpoints/,
    );
    expect(code).toBe(1);
    expect(readdirSync(runs.path('spoiled')).sort()).toEqual([
      'checkpoints',
      'config.json',
      'config.yaml',
      'metrics.csv',
      'tokenizer',
    ]);
  });

  test('strategy single steps after each micro-batch', async () => {
    const { code } = await runs.train('single', '--strategy=single', '--accumulate=1', '--max-steps=3');
    expect(code).toBe(0);
    expect(summaryOf('single')).toMatchObject({ strategy: 'single', steps: 3, microBatches: 3 });
  });

  test('that ends before the first log line has its loss and a row of metrics all the same', async () => {
    const { code, stdout } = await runs.train('short', '--max-steps=1', '--eval-limit=5');
    expect(code).toBe(0);
    expect(stdout).toMatch(/micro-batch 4\/4 \| step 1 \| loss \d/);
    const { first, last } = summaryOf('short').loss;
    expect(first).toBeGreaterThan(0);
    expect(last).toBe(first);
    const rows = readFileSync(runs.path('short', 'metrics.csv'), 'utf8').trim().split('\n');
    expect(rows.slice(1)).toEqual([expect.stringMatching(/^4,1,0,/)]);
    // Evaluated on as many texts as it was told to.
    const { validation, test: testCounts } = summaryOf('short').counts;
    expect([validation.total, testCounts.total]).toEqual([5, 5]);
  });

  test('evaluate gives the accuracy of the summary', async () => {
    const { code, stdout } = await place.run([
      'evaluate',
      '--model=runs/run',
      `--accelerator=${accelerator}`,
      '--json',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ part: 'test', ...summaryOf('run').counts.test });
  });

  test('predict gives label and probability, of arguments and of lines', async () => {
    const texts = ['a great lovely film', 'awful boring plot'];
    const byArgument = await place.run([
      'predict',
      '--model=runs/run',
      `--accelerator=${accelerator}`,
      '--json',
      ...texts,
    ]);
    const byLine = await place.run(['predict', '--model=runs/run/model', `--accelerator=${accelerator}`, '--json'], {
      input: `${texts.join('\n')}\n`,
    });
    expect(byArgument.code).toBe(0);
    expect(byLine.stdout).toBe(byArgument.stdout);
    const rows = byArgument.stdout
      .trim()
      .split('\n')
      .map(
        (line) =>
          JSON.parse(line) as {
            text: string;
            label: string;
            probability: number;
            probabilities: Record<string, number>;
          },
      );
    expect(rows.map((row) => row.text)).toEqual(texts);
    for (const row of rows) {
      expect(row.probability).toBe(row.probabilities[row.label]);
      expect((row.probabilities.good ?? 0) + (row.probabilities.bad ?? 0)).toBeCloseTo(1, 5);
    }
    const plain = await place.run(['predict', '--model=runs/run', `--accelerator=${accelerator}`, texts[0] as string]);
    expect(plain.stdout).toMatch(/^(good|bad)\t[01]\.\d{4}\ta great lovely film\n$/);
  });

  test('prepare fills the cache and says what is in it', async () => {
    const { code, stdout } = await place.run([
      'prepare',
      '--data=jsonl',
      '--data-path=data',
      '--vocabulary-size=300',
      '--max-length=16',
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/train +: 157 texts, [\d,]+ tokens/);
    expect(stdout).toMatch(/tokens: \d+ files/);
  });
});

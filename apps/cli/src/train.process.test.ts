import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listCheckpoints } from './run/checkpoints.ts';
import { labelledLines, until, Workplace } from './testing/command-line.testing.ts';

/** 157 training texts in micro-batches of 3 accumulated over 4: 53 micro-batches and 14 steps an epoch, the last window of one micro-batch of one text. */
const microBatchesPerEpoch = 53;
const options = [
  '--data=jsonl',
  '--data-path=data',
  '--model=bloom-tiny',
  '--hidden-size=16',
  '--layers=2',
  '--heads=2',
  '--vocabulary-size=300',
  '--max-length=16',
  '--dropout=0.1',
  '--micro-batch-size=3',
  '--accumulate=4',
  '--epochs=3',
  '--max-steps=40',
  '--lr=2e-3',
  '--schedule=linear',
  '--warmup-steps=5',
  '--log-every=7',
  '--keep-checkpoints=99',
  '--checkpoint-every=20',
  '--checkpoint-every-micro-batches=25',
];

/** Which accelerators are here: tensorflow is an optional part. */
const hasTensorflow = await import('@tensorflow/tfjs-node').then(
  () => true,
  () => false,
);
if (!hasTensorflow) {
  if (process.env.TENSORLOOM_REQUIRE_TENSORFLOW === '1') throw new Error('TENSORLOOM_REQUIRE_TENSORFLOW=1, but @tensorflow/tfjs-node does not load.');
  console.log('train: not tried on accelerator tensorflow, which is not installed');
}

describe.each(hasTensorflow ? ['wasm', 'tensorflow'] : ['wasm'])('train on %s', (accelerator) => {
  const place = new Workplace();
  const train = (...more: string[]) => place.run(['train', ...options, `--accelerator=${accelerator}`, ...more]);
  const checkpointsOf = (run: string): string[] => listCheckpoints(place.path('runs', run, 'checkpoints'));

  /** All bytes that make the state of a run at its end; times and memory differ from run to run. */
  const finalState = (run: string): Record<string, unknown> => {
    const newest = checkpointsOf(run)[0] as string;
    const files = readdirSync(newest).filter((name) => name.endsWith('.safetensors'));
    const state = JSON.parse(readFileSync(join(newest, 'state.json'), 'utf8')) as { statefuls: unknown; values: { run: Record<string, unknown> } };
    const { secondsBefore: _1, trainingSeconds: _2, peakMemoryBytes: _3, ...progress } = state.values.run;
    return {
      name: newest.split('/').at(-1),
      files: Object.fromEntries(files.map((name) => [name, readFileSync(join(newest, name)).toString('base64')])),
      statefuls: state.statefuls,
      progress,
      model: readFileSync(place.path('runs', run, 'model', 'model.safetensors')).toString('base64'),
    };
  };

  beforeAll(async () => {
    mkdirSync(place.path('data'));
    place.write('data/train.jsonl', labelledLines(157, 1));
    place.write('data/validation.jsonl', labelledLines(30, 2));
    place.write('data/test.jsonl', labelledLines(41, 3));
    const { code, stderr } = await train('--run-name=whole');
    expect(stderr).toBe('');
    expect(code).toBe(0);
  }, 120_000);
  afterAll(() => place.dispose());

  test('leaves a run folder with options, metrics, checkpoints, the model and a summary', () => {
    const run = place.path('runs', 'whole');
    expect(readdirSync(run).sort()).toEqual(['checkpoints', 'config.json', 'config.yaml', 'metrics.csv', 'model', 'summary.json', 'tokenizer']);
    expect(readdirSync(join(run, 'model')).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']);
    const summary = JSON.parse(readFileSync(join(run, 'summary.json'), 'utf8'));
    expect(summary).toMatchObject({ steps: 40, microBatches: 2 * microBatchesPerEpoch + 12 * 4, strategy: 'accumulate', accelerator, precision: '32-true', counts: { test: { total: 41 } } });
    for (const part of ['train', 'validation', 'test']) {
      expect(summary.accuracy[part]).toBeGreaterThanOrEqual(0);
      expect(summary.accuracy[part]).toBeLessThanOrEqual(1);
    }
    expect(summary.accuracy.test).toBe(summary.counts.test.correct / 41);
    expect(summary.elapsedSeconds).toBeGreaterThan(0);
    expect(summary.peakMemoryBytes).toBeGreaterThan(2 ** 20);
    const rows = readFileSync(join(run, 'metrics.csv'), 'utf8').trim().split('\n');
    expect(rows[0]).toMatch(/^micro_batch,step,epoch,loss,lr/);
    expect(rows.map((row) => row.split(',')[0]).slice(1, 9)).toEqual(['7', '14', '21', '28', '35', '42', '49', '53']);
  });

  test('learns', () => {
    const { loss } = JSON.parse(readFileSync(place.path('runs', 'whole', 'summary.json'), 'utf8')) as { loss: { first: number; last: number } };
    expect(loss.last).toBeLessThan(loss.first);
  });

  test('the same command gives the same bytes', async () => {
    expect((await train('--run-name=again')).code).toBe(0);
    expect(finalState('again')).toEqual(finalState('whole'));
  });

  test('the saved options give the same run', async () => {
    const config = place.path('runs', 'whole', 'config.yaml');
    const { code } = await place.run(['train', `--config=${config}`, '--run-name=from-file']);
    expect(code).toBe(0);
    expect(finalState('from-file')).toEqual(finalState('whole'));
  });

  describe('resumed, equals the run that was never stopped, to the last bit', () => {
    /** A copy of the whole run, as if it had been killed right after the checkpoint at `microBatches`. */
    const cutAt = (run: string, microBatches: number): void => {
      cpSync(place.path('runs', 'whole'), place.path('runs', run), { recursive: true });
      for (const path of checkpointsOf(run)) if (Number(path.split('-').at(-1)) > microBatches) rmSync(path, { recursive: true });
      rmSync(place.path('runs', run, 'model'), { recursive: true });
      rmSync(place.path('runs', run, 'summary.json'));
    };

    test.each([
      ['in the middle of an accumulation window', 25],
      ['in the middle of a window of the second epoch', 75],
      ['at the end of a step', 52 + 25],
    ])('%s', async (_, microBatches) => {
      const run = `cut-${microBatches}`;
      cutAt(run, microBatches);
      const { code, stdout } = await place.run(['train', `--resume=runs/${run}`, '--log-every=7']);
      expect(stdout).toMatch(/resumed from/);
      expect(code).toBe(0);
      expect(finalState(run)).toEqual(finalState('whole'));
      const lossColumns = (name: string): string[] =>
        readFileSync(place.path('runs', name, 'metrics.csv'), 'utf8').split('\n').map((row) => row.split(',').slice(0, 7).join(','));
      expect(lossColumns(run)).toEqual(lossColumns('whole'));
    });

    test('after kill -9', async () => {
      const killed = place.start(['train', ...options, `--accelerator=${accelerator}`, '--run-name=killed']);
      await until(() => checkpointsOf('killed').length >= 2, 'two checkpoints');
      killed.process.kill('SIGKILL');
      expect(await killed.finished).toMatchObject({ signal: 'SIGKILL' });
      expect((await place.run(['train', '--resume=runs/killed'])).code).toBe(0);
      expect(finalState('killed')).toEqual(finalState('whole'));
    });

    test.each([
      ['SIGTERM', 143],
      ['SIGINT', 130],
    ] as const)('after %s, which saves a checkpoint and exits %d', async (signal, exitCode) => {
      const run = `stopped-by-${signal}`;
      const stopped = place.start(['train', ...options, `--accelerator=${accelerator}`, `--run-name=${run}`]);
      await until(() => /micro-batch 14\//.test(stopped.output()), 'the second log line');
      stopped.process.kill(signal);
      const { code, stderr } = await stopped.finished;
      expect(stderr).toMatch(new RegExp(`${signal}: stopping after this micro-batch[^]*Saved .*--resume=`));
      expect(code).toBe(exitCode);
      expect(existsSync(place.path('runs', run, 'summary.json'))).toBe(false);
      expect((await place.run(['train', `--resume=runs/${run}`])).code).toBe(0);
      const whole = finalState('whole');
      expect(finalState(run)).toEqual(whole);
    });
  });

  test('a damaged checkpoint is noticed, and the one before it taken', async () => {
    cpSync(place.path('runs', 'whole'), place.path('runs', 'damaged'), { recursive: true });
    const newest = checkpointsOf('damaged')[0] as string;
    const bytes = readFileSync(join(newest, 'model.safetensors'));
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    writeFileSync(join(newest, 'model.safetensors'), bytes);
    const { code, stdout } = await place.run(['train', '--resume=runs/damaged']);
    expect(stdout).toMatch(/step-000040-micro-batch-000154 is damaged; an older one is taken/);
    expect(code).toBe(0);
    expect(finalState('damaged')).toEqual(finalState('whole'));
  });

  test('resuming with another learning rate is refused by name', async () => {
    const { code, stderr } = await place.run(['train', '--resume=runs/whole', '--lr=1']);
    expect(stderr).toMatch(/--lr=1 \(recorded: 0\.002\)/);
    expect(code).toBe(2);
  });

  test('resuming with the checkpoint of another model names what does not fit', async () => {
    const { code } = await place.run(['train', ...options, `--accelerator=${accelerator}`, '--run-name=wider', '--hidden-size=32', '--max-steps=1']);
    expect(code).toBe(0);
    rmSync(place.path('runs', 'wider', 'checkpoints'), { recursive: true });
    cpSync(place.path('runs', 'whole', 'checkpoints'), place.path('runs', 'wider', 'checkpoints'), { recursive: true });
    const resumed = await place.run(['train', '--resume=runs/wider']);
    expect(resumed.stderr).toMatch(/error: Loading 'model'[^]*stored \[.*16\], expected \[.*32\]/);
    expect(resumed.code).toBe(1);
  });

  test('resuming on other data is refused', async () => {
    cpSync(place.path('runs', 'whole'), place.path('runs', 'other-data'), { recursive: true });
    mkdirSync(place.path('other'));
    place.write('other/train.jsonl', labelledLines(157, 9));
    cpSync(place.path('data', 'validation.jsonl'), place.path('other', 'validation.jsonl'));
    cpSync(place.path('data', 'test.jsonl'), place.path('other', 'test.jsonl'));
    const { code, stderr } = await place.run(['train', '--resume=runs/other-data', '--data-path=other']);
    expect(stderr).toMatch(/training data are not those/);
    expect(code).toBe(1);
  });

  test('a loss that is not finite stops the run with a clear error', async () => {
    const { code, stderr } = await train('--run-name=diverged', '--lr=1e30', '--warmup-steps=0', '--max-skipped-steps=3');
    expect(stderr).toMatch(/error: Stopped after 3 skipped steps in a row[^]*Lower the learning rate/);
    expect(code).toBe(1);
  });

  test('evaluate gives the accuracy of the summary', async () => {
    const { code, stdout } = await place.run(['evaluate', '--model=runs/whole', `--accelerator=${accelerator}`, '--json']);
    expect(code).toBe(0);
    const { counts } = JSON.parse(readFileSync(place.path('runs', 'whole', 'summary.json'), 'utf8')) as { counts: { test: object } };
    expect(JSON.parse(stdout)).toMatchObject({ part: 'test', ...counts.test });
  });

  test('predict gives label and probability, of arguments and of lines', async () => {
    const texts = ['a great lovely film', 'awful boring plot'];
    const byArgument = await place.run(['predict', '--model=runs/whole', `--accelerator=${accelerator}`, '--json', ...texts]);
    const byLine = await place.run(['predict', '--model=runs/whole/model', `--accelerator=${accelerator}`, '--json'], { input: `${texts.join('\n')}\n` });
    expect(byArgument.code).toBe(0);
    expect(byLine.stdout).toBe(byArgument.stdout);
    const rows = byArgument.stdout.trim().split('\n').map((line) => JSON.parse(line) as { text: string; label: string; probability: number; probabilities: Record<string, number> });
    expect(rows.map((row) => row.text)).toEqual(texts);
    for (const row of rows) {
      expect(row.probability).toBe(row.probabilities[row.label]);
      expect((row.probabilities.good ?? 0) + (row.probabilities.bad ?? 0)).toBeCloseTo(1, 5);
    }
    const plain = await place.run(['predict', '--model=runs/whole', `--accelerator=${accelerator}`, texts[0] as string]);
    expect(plain.stdout).toMatch(/^(good|bad)\t[01]\.\d{4}\ta great lovely film\n$/);
  });
});

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { labelledLines, until } from './testing/command-line.testing.ts';
import { testedAccelerators, TinyRuns } from './testing/tiny-run.testing.ts';

const timeoutMs = 300_000;

describe.each(await testedAccelerators())(
  'a run on %s, resumed, equals the one that was never stopped to the last bit',
  { timeout: timeoutMs },
  (accelerator) => {
    const runs = new TinyRuns(accelerator);
    beforeAll(async () => {
      const { code, stderr } = await runs.train('whole');
      expect(stderr).toBe('');
      expect(code).toBe(0);
    }, timeoutMs);
    afterAll(() => runs.place.dispose());

    /** A copy of the whole run, as if it had been killed right after the checkpoint at `microBatches`. */
    const cutAt = (name: string, microBatches: number): void => {
      cpSync(runs.path('whole'), runs.path(name), { recursive: true });
      for (const path of runs.checkpoints(name))
        if (Number(path.split('-').at(-1)) > microBatches) rmSync(path, { recursive: true });
      rmSync(runs.path(name, 'model'), { recursive: true });
      rmSync(runs.path(name, 'summary.json'));
    };
    /** metrics.csv without the columns that differ from run to run. */
    const metricsOf = (name: string): string[][] => {
      const rows = readFileSync(runs.path(name, 'metrics.csv'), 'utf8')
        .trimEnd()
        .split('\n')
        .map((row) => row.split(','));
      const varying = ['tokens_per_second', 'memory_bytes'].map((column) => rows[0]?.indexOf(column));
      return rows.map((row) => row.filter((_, index) => !varying.includes(index)));
    };

    test.each([
      ['in the middle of an accumulation window and of the second epoch', 75],
      ['at the end of a step', 53 + 6 * 4],
    ])('%s', async (_, microBatches) => {
      const name = `cut-${microBatches}`;
      cutAt(name, microBatches);
      expect(runs.checkpoints(name)[0]).toMatch(new RegExp(`micro-batch-0*${microBatches}$`));
      const { code, stdout } = await runs.resume(name);
      expect(stdout).toMatch(/resumed from/);
      expect(code).toBe(0);
      expect(runs.finalState(name)).toEqual(runs.finalState('whole'));
      expect(metricsOf(name)).toEqual(metricsOf('whole'));
    });

    test('after kill -9', async () => {
      const killed = runs.start('killed');
      await until(() => runs.checkpoints('killed').length >= 2, 'two checkpoints');
      killed.process.kill('SIGKILL');
      expect(await killed.finished).toMatchObject({ signal: 'SIGKILL' });
      expect((await runs.resume('killed')).code).toBe(0);
      expect(runs.finalState('killed')).toEqual(runs.finalState('whole'));
    });

    // What a signal does is the same whatever computes: one each.
    const [signal, exitCode] = accelerator === 'wasm' ? (['SIGINT', 130] as const) : (['SIGTERM', 143] as const);
    test(`after ${signal}, which saves a checkpoint and exits ${exitCode}`, async () => {
      const stopped = runs.start(signal);
      await until(() => /micro-batch 14\//.test(stopped.output()), 'the second log line');
      stopped.process.kill(signal);
      const { code, stderr } = await stopped.finished;
      expect(stderr).toMatch(new RegExp(`${signal}: stopping after this micro-batch[^]*Saved .*--resume=`));
      expect(code).toBe(exitCode);
      expect(existsSync(runs.path(signal, 'summary.json'))).toBe(false);
      expect((await runs.resume(signal)).code).toBe(0);
      expect(runs.finalState(signal)).toEqual(runs.finalState('whole'));
    });
  },
);

describe('resuming', { timeout: timeoutMs }, () => {
  const runs = new TinyRuns('wasm');
  beforeAll(async () => {
    expect((await runs.train('run')).code).toBe(0);
  }, timeoutMs);
  afterAll(() => runs.place.dispose());

  test('a run that is finished does nothing but say so', async () => {
    const before = runs.finalState('run');
    const { code, stdout } = await runs.resume('run');
    expect(stdout).toMatch(/^\S+run is finished already; its model is in \S+model\.\n$/);
    expect(code).toBe(0);
    expect(runs.finalState('run')).toEqual(before);
  });

  test('from a damaged checkpoint is not done: the one before it is taken', async () => {
    cpSync(runs.path('run'), runs.path('damaged'), { recursive: true });
    rmSync(runs.path('damaged', 'summary.json'));
    const newest = runs.checkpoints('damaged')[0] as string;
    const bytes = readFileSync(join(newest, 'model.safetensors'));
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    writeFileSync(join(newest, 'model.safetensors'), bytes);
    const { code, stdout } = await runs.resume('damaged');
    expect(stdout).toMatch(/step-000032-micro-batch-000122 is damaged; an older one is taken/);
    expect(code).toBe(0);
    expect(runs.finalState('damaged')).toEqual(runs.finalState('run'));
  });

  test('with another learning rate is refused by name', async () => {
    const { code, stderr } = await runs.resume('run', '--lr=1');
    expect(stderr).toMatch(/--lr=1 \(recorded: 0\.002\)/);
    expect(code).toBe(2);
  });

  test('from the checkpoint of another model names what does not fit', async () => {
    expect((await runs.train('wider', '--hidden-size=32', '--max-steps=1')).code).toBe(0);
    rmSync(runs.path('wider', 'checkpoints'), { recursive: true });
    rmSync(runs.path('wider', 'summary.json'));
    cpSync(runs.path('run', 'checkpoints'), runs.path('wider', 'checkpoints'), { recursive: true });
    const { code, stderr } = await runs.resume('wider');
    expect(stderr).toMatch(/error: Loading 'model'[^]*stored \[.*16\], expected \[.*32\]/);
    expect(code).toBe(1);
  });

  test('on other data is refused, and leaves the run as it was', async () => {
    rmSync(runs.path('run', 'summary.json'));
    mkdirSync(runs.place.path('other'));
    runs.place.write('other/train.jsonl', labelledLines(157, 9));
    for (const part of ['validation', 'test'])
      cpSync(runs.place.path('data', `${part}.jsonl`), runs.place.path('other', `${part}.jsonl`));
    const { code, stderr } = await runs.resume('run', '--data-path=other');
    expect(stderr).toMatch(/training data are not those/);
    expect(code).toBe(1);
    expect(await runs.resume('run')).toMatchObject({ code: 0, stdout: expect.stringMatching(/resumed from/) });
    expect(readFileSync(runs.path('run', 'config.yaml'), 'utf8')).toContain(`data-path: ${runs.place.path('data')}`);
  });
});

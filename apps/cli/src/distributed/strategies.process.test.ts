import { readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { whyNotNative } from '../testing/native.testing.ts';
import { TinyRuns } from '../testing/tiny-run.testing.ts';

const timeoutMs = 300_000;
const runs = new TinyRuns('cpu');
/** Without dropout, of which ranks draw numbers of their own. One epoch of 7 steps, the last of 3 micro-batches, of which one has a single text. */
const same = ['--dropout=0', '--epochs=1', '--micro-batch-size=6', '--checkpoint-every=3', '--log-every=8'];
/** Float32, after more than 6 steps. */
const tolerance = 1e-5;

beforeAll(async () => {
  expect(await runs.train('accumulate', ...same)).toMatchObject({ code: 0, stderr: '' });
}, timeoutMs);
afterAll(() => runs.place.dispose());

/** The losses of metrics.csv by the micro-batch at which they were logged. */
function losses(name: string): [microBatch: number, loss: number][] {
  const [header = '', ...rows] = readFileSync(runs.path(name, 'metrics.csv'), 'utf8').trim().split('\n');
  const column = header.split(',').indexOf('loss');
  return rows.map((row) => row.split(',')).map((cells) => [Number(cells[0]), Number(cells[column])]);
}

function expectSameLosses(name: string): void {
  const expected = losses('accumulate');
  const found = losses(name);
  expect(found.map(([microBatch]) => microBatch)).toEqual([8, 16, 24, 27]);
  for (const [index, [microBatch, loss]] of found.entries()) {
    expect(microBatch).toBe(expected[index]?.[0]);
    expect(Math.abs(loss - (expected[index]?.[1] as number))).toBeLessThan(tolerance);
  }
}

test.each(['ddp', 'zero1', 'zero2', 'fsdp'])(
  '--strategy=%s --devices=2 in place of accumulate changes nothing else',
  async (strategy) => {
    const { code, stdout, stderr } = await runs.train(strategy, ...same, `--strategy=${strategy}`, '--devices=2');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`\\[rank 0\\] ${strategy} on 2 ranks over shm: [^]*\\[rank 0\\] test accuracy`));
    expect(stdout).not.toMatch(/\[rank 1\]/);
    const [one, two] = [runs.summary('accumulate'), runs.summary(strategy)];
    expect(one).toMatchObject({ steps: 7, microBatches: 27, texts: 157 });
    expect(two.counts).toEqual(one.counts);
    const { steps, microBatches, texts, tokens } = one;
    expect(two).toMatchObject({ steps, microBatches, texts, tokens });
    expect(two.accuracy.train).toBeCloseTo(one.accuracy.train as number, 12);
    expect(two.peakMemoryBytesByRank).toHaveLength(2);
    expect(two.peakMemoryBytes).toBe(Math.max(...two.peakMemoryBytesByRank));
    expect(runs.largestDifference('accumulate', strategy)).toBeLessThan(tolerance);
    expectSameLosses(strategy);
  },
  timeoutMs,
);

describe.runIf((await whyNotNative()) === null)('on native, in 16-mixed', () => {
  const native = new TinyRuns('native');
  const mixed = [...same, '--precision=16-mixed', '--threads=1'];
  afterAll(() => native.place.dispose());

  test(
    'ranks that are processes do what one process does, with one loss scale, and go on from what they have saved',
    async () => {
      expect(await native.train('one', ...mixed)).toMatchObject({ code: 0, stderr: '' });
      for (const strategy of ['ddp', 'fsdp']) {
        const { code, stdout, stderr } = await native.train(
          strategy,
          ...mixed,
          `--strategy=${strategy}`,
          '--devices=2',
        );
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        expect(stdout).toMatch(/accelerator : native \(.*1 thread\)/);
        expect(native.summary(strategy).counts).toEqual(native.summary('one').counts);
        expect(native.largestDifference('one', strategy)).toBeLessThan(tolerance);
      }
      const whole = native.finalState('ddp');
      // As if it had been stopped after 3 of its 7 steps.
      for (const path of native.checkpoints('ddp'))
        if (!/step-00000[0-3]/.test(path)) rmSync(path, { recursive: true });
      rmSync(native.path('ddp', 'summary.json'));
      const resumed = await native.resume('ddp', '--strategy=ddp', '--devices=2');
      expect(resumed.stdout).toMatch(/resumed from .*step-000003/);
      expect(resumed).toMatchObject({ code: 0, stderr: '' });
      expect(native.finalState('ddp')).toEqual(whole);
    },
    timeoutMs,
  );
});

test(
  'what 4 ranks of fsdp have saved, 2 ranks of ddp go on with',
  async () => {
    const onFour = await runs.train('moved', ...same, '--strategy=fsdp', '--devices=4');
    expect(onFour).toMatchObject({ code: 0, stderr: '' });
    // As if it had been stopped after 3 of its 7 steps.
    const later = runs.checkpoints('moved').filter((path) => !/step-00000[0-3]/.test(path));
    expect(later.length).toBeGreaterThan(0);
    for (const path of later) rmSync(path, { recursive: true });
    rmSync(runs.path('moved', 'summary.json'));
    const onTwo = await runs.resume('moved', '--strategy=ddp', '--devices=2');
    expect(onTwo.stderr).toBe('');
    expect(onTwo.stdout).toMatch(/resumed from .*step-000003/);
    expect(onTwo.code).toBe(0);
    const { steps, microBatches, texts, counts } = runs.summary('accumulate');
    expect(runs.summary('moved')).toMatchObject({ steps, microBatches, texts, counts, strategy: 'ddp' });
    expect(runs.largestDifference('accumulate', 'moved')).toBeLessThan(tolerance);
    expectSameLosses('moved');
  },
  timeoutMs,
);

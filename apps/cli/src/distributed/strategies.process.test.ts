import { readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TinyRuns } from '../testing/tiny-run.testing.ts';

const timeoutMs = 300_000;
const runs = new TinyRuns('cpu');
/** Without dropout, of which ranks draw numbers of their own; one epoch, whose last step is of one text. */
const same = ['--dropout=0', '--epochs=1'];

beforeAll(async () => {
  expect(await runs.train('accumulate', ...same)).toMatchObject({ code: 0, stderr: '' });
}, timeoutMs);
afterAll(() => runs.place.dispose());

test.each(['ddp', 'zero1', 'zero2', 'fsdp'])(
  '--strategy=%s --devices=2 in place of accumulate changes nothing else',
  async (strategy) => {
    const { code, stdout, stderr } = await runs.train(strategy, ...same, `--strategy=${strategy}`, '--devices=2');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/\[rank 0\] test accuracy/);
    expect(stdout).not.toMatch(/\[rank 1\]/);
    const [one, two] = [runs.summary('accumulate'), runs.summary(strategy)];
    expect(two.counts).toEqual(one.counts);
    expect(two).toMatchObject({
      steps: one.steps,
      microBatches: one.microBatches,
      texts: one.texts,
      tokens: one.tokens,
    });
    expect(two.accuracy.train).toBeCloseTo(one.accuracy.train as number, 12);
    expect(two.peakMemoryBytesByRank).toHaveLength(2);
    expect(two.peakMemoryBytes).toBe(Math.max(...two.peakMemoryBytesByRank));
    expect(runs.largestDifference('accumulate', strategy)).toBeLessThan(1e-4);
    // The same losses, where rows are of the same micro-batches.
    const lossAt = (name: string, microBatch: number): number => {
      const [header, ...rows] = readFileSync(runs.path(name, 'metrics.csv'), 'utf8').trim().split('\n');
      const row = rows.find((each) => each.startsWith(`${microBatch},`)) as string;
      return Number(row.split(',')[(header as string).split(',').indexOf('loss')]);
    };
    expect(lossAt(strategy, 53)).toBeGreaterThan(0);
    expect(Math.abs(two.loss.last! - one.loss.last!)).toBeLessThan(0.1);
  },
  timeoutMs,
);

test(
  'what 4 ranks of fsdp have saved, 2 ranks of ddp go on with',
  async () => {
    const onFour = await runs.train('moved', ...same, '--strategy=fsdp', '--devices=4', '--checkpoint-every=8');
    expect(onFour).toMatchObject({ code: 0, stderr: '' });
    // As if it had been stopped after 8 of its 14 steps.
    const later = runs.checkpoints('moved').filter((path) => !/step-00000[0-8]/.test(path));
    expect(later.length).toBeGreaterThan(0);
    for (const path of later) rmSync(path, { recursive: true });
    rmSync(runs.path('moved', 'summary.json'));
    const onTwo = await runs.resume('moved', '--strategy=ddp', '--devices=2');
    expect(onTwo.stderr).toBe('');
    expect(onTwo.stdout).toMatch(/resumed from .*step-000008/);
    expect(onTwo.code).toBe(0);
    const { steps, microBatches, texts, counts } = runs.summary('accumulate');
    expect(runs.summary('moved')).toMatchObject({ steps, microBatches, texts, counts, strategy: 'ddp' });
    expect(runs.largestDifference('accumulate', 'moved')).toBeLessThan(1e-4);
  },
  timeoutMs,
);

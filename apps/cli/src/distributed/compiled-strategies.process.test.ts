import { accelerators } from '@tensorloom/core';
import '@tensorloom/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TinyRuns } from '../testing/tiny-run.testing.ts';

const timeoutMs = 300_000;
/** Without dropout, of which ranks draw numbers of their own. */
const same = [
  '--dropout=0',
  '--epochs=1',
  '--micro-batch-size=6',
  '--checkpoint-every=3',
  '--log-every=8',
  '--threads=1',
];
/** Float32, after some steps. */
const tolerance = 1e-5;

const reason = await accelerators.get('native').create().unavailable();
if (reason !== null) {
  if (process.env['TENSORLOOM_REQUIRE_NATIVE'] === '1') throw new Error(reason);
  console.log(`compiled blocks are not tested on several ranks: ${reason}`);
}

describe.runIf(reason === null)('compiled blocks on two ranks', () => {
  const runs = new TinyRuns('native');
  beforeAll(async () => {
    expect(await runs.train('alone', ...same)).toMatchObject({ code: 0, stderr: '' });
  }, timeoutMs);
  afterAll(() => runs.place.dispose());

  it.each([
    ['ddp', ['--compile']],
    ['zero2', ['--compile']],
    ['fsdp', ['--compile']],
    ['fsdp', ['--compile', '--activation-checkpointing']],
    ['fsdp', ['--activation-checkpointing']],
  ])(
    'by %s with %j, the parameters are those of one rank, op by op',
    async (strategy, flags) => {
      const name = [strategy, ...flags].join('');
      const { code, stdout, stderr } = await runs.train(
        name,
        ...same,
        `--strategy=${strategy}`,
        '--devices=2',
        ...flags,
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      if (flags.includes('--compile')) expect(stdout).toMatch(/compiled (\d+) of \1 transformer blocks/);
      if (flags.includes('--activation-checkpointing'))
        expect(stdout).toMatch(/backward computes (\d+) of \1 transformer blocks again/);
      expect(runs.largestDifference('alone', name)).toBeLessThan(tolerance);
    },
    timeoutMs,
  );
});

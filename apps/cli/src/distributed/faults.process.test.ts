import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { until, type Running } from '../testing/command-line.testing.ts';
import { allGone, isAlive, rankProcesses } from '../testing/ranks.testing.ts';
import { TinyRuns } from '../testing/tiny-run.testing.ts';

const timeoutMs = 300_000;
const rankTimeoutMs = 5_000;
const runs = new TinyRuns('cpu');
const ddp = ['--strategy=ddp', '--devices=2', `--rank-timeout-ms=${rankTimeoutMs}`, '--log-every=1'];
let started: number[] = [];

/** Starts a run of 2 ranks and waits until it trains. Ends with process ids, by rank. */
async function training(name: string, ...more: string[]): Promise<{ running: Running; ranks: number[] }> {
  const running = runs.start(name, ...ddp, ...more);
  const ranks = await rankProcesses(running, 2);
  started.push(...ranks);
  await until(() => /micro-batch 8\//.test(running.output()), 'the fourth round of micro-batches');
  return { running, ranks };
}

afterEach(() => {
  for (const pid of started) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  started = [];
});
afterAll(() => runs.place.dispose());

describe('when a rank of a running job', { timeout: timeoutMs }, () => {
  test.each([
    [1, 0],
    [0, 1],
  ])('%i is killed, rank %i fails, naming it, and nothing is left', async (killed, other) => {
    const { running, ranks } = await training(`killed-${killed}`);
    process.kill(ranks[killed] as number, 'SIGKILL');
    const { code, stderr } = await running.finished;
    expect(stderr).toMatch(new RegExp(`\\[rank ${other}\\] error: .*[Rr]ank ${killed}`));
    expect(stderr).toMatch(new RegExp(`rank ${killed} failed first: ended by SIGKILL`));
    expect(code).toBe(137);
    await allGone(ranks);
  });

  test('stops answering, the other fails within the rank timeout, naming it, and nothing is left', async () => {
    const { running, ranks } = await training('stopped');
    process.kill(ranks[1] as number, 'SIGSTOP');
    const { code, stderr } = await running.finished;
    expect(stderr).toMatch(/\[rank 0\] error: .*[Rr]ank 1 is lost/);
    expect(code).toBe(1);
    await allGone(ranks);
  });

  test('loses its launcher to kill -9, no process is left', async () => {
    const { running, ranks } = await training('orphaned');
    running.process.kill('SIGKILL');
    await running.finished;
    await allGone(ranks);
  });
});

test(
  'a rank that raises in its data loader makes the others fail with its message',
  async () => {
    const script = runs.place.write('raises.mjs', rankThatRaises());
    const { code, stderr } = await runs.place.run([
      'run',
      '--devices=2',
      '--strategy=ddp',
      '--accelerator=cpu',
      script,
    ]);
    expect(stderr).toMatch(/\[rank 1\] .*text 3 cannot be read/);
    expect(stderr).toMatch(/\[rank 0\] .*rank 1.*text 3 cannot be read/);
    expect(code).toBe(1);
  },
  timeoutMs,
);

test(
  'two jobs at once on one machine do not disturb each other',
  async () => {
    const both = await Promise.all(['first', 'second'].map((name) => runs.train(name, ...ddp, '--max-steps=4')));
    for (const { code, stderr } of both) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(runs.largestDifference('first', 'second')).toBe(0);
  },
  timeoutMs,
);

/** A user's own script, as far from ours as Fabric allows. */
function rankThatRaises(): string {
  const core = new URL('../../../../packages/core/src/index.ts', import.meta.url).href;
  const strategies = new URL('../../../../packages/strategies/src/index.ts', import.meta.url).href;
  return `
import { Fabric, Module, Parameter, SGD, tf } from '${core}';
import '${strategies}';
class Scale extends Module {
  factor = new Parameter(tf.ones([1]));
  forward(x) { return tf.mul(this.factor.value, x); }
}
const fabric = new Fabric({ strategyOptions: { accumulate: 1 } });
await fabric.launch(async () => {
  const [model, optimizer] = await fabric.setup(new Scale(), (parameters) => new SGD(parameters, { lr: 0.1 }));
  async function* batches() {
    for (let i = 0; i < 100; i++) {
      if (i === 3 && fabric.globalRank === 1) throw new Error('text 3 cannot be read');
      yield i;
    }
  }
  for await (const i of fabric.setupDataLoader({ [Symbol.asyncIterator]: batches, length: 100 }, { useDistributedSampler: false })) {
    await fabric.backward(model, () => tf.mean(model.forward(tf.ones([2]))));
    await fabric.step(optimizer);
  }
});
`;
}

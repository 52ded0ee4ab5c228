import { afterAll, beforeAll, expect, test } from 'vitest';
import { existsSync, readFileSync } from 'node:fs';
import { until } from '../testing/command-line.testing.ts';
import { allGone, rankProcesses } from '../testing/ranks.testing.ts';
import { TinyRuns } from '../testing/tiny-run.testing.ts';

const timeoutMs = 300_000;
const runs = new TinyRuns('cpu');
/** With dropout, whose random numbers each rank must find again. Checkpoints lie also in the middle of steps. */
const job = ['--devices=2', '--max-steps=16', '--log-every=1', '--checkpoint-every-micro-batches=10'];

/** Undisturbed. */
const whole = (strategy: string): string => `whole-${strategy}`;

beforeAll(async () => {
  for (const strategy of ['zero2', 'fsdp'])
    expect(await runs.train(whole(strategy), ...job, `--strategy=${strategy}`)).toMatchObject({ code: 0, stderr: '' });
}, timeoutMs);
afterAll(() => runs.place.dispose());

test(
  'a run of fsdp on two ranks that SIGINT stops is saved, and resumed ends as the one that was never stopped, to the last bit',
  async () => {
    const running = runs.start('interrupted', ...job, '--strategy=fsdp');
    await until(() => /micro-batch 26\//.test(running.output()), 'some steps');
    running.process.kill('SIGINT');
    const { code, stderr } = await running.finished;
    expect(stderr).toMatch(/SIGINT: stopping after this step[^]*Saved .*--resume=/);
    expect(stderr.match(/SIGINT/g)).toHaveLength(1);
    expect(code).toBe(130);
    expect(existsSync(runs.path('interrupted', 'summary.json'))).toBe(false);
    expect(await runs.resume('interrupted')).toMatchObject({ code: 0, stderr: '' });
    expect(runs.finalState('interrupted')).toEqual(runs.finalState(whole('fsdp')));
  },
  timeoutMs,
);

test(
  'a signal that reaches one rank alone stops both at the same step',
  async () => {
    const running = runs.start('terminated', ...job, '--strategy=ddp');
    const ranks = await rankProcesses(running, 2);
    await until(() => /micro-batch 26\//.test(running.output()), 'some steps');
    process.kill(ranks[1] as number, 'SIGTERM');
    const { code, stderr } = await running.finished;
    expect(stderr).toMatch(/Saved .*--resume=/);
    expect(code).toBe(143);
    await allGone(ranks);
  },
  timeoutMs,
);

test(
  '--max-restarts goes on with zero2 after a rank was killed, and ends as the undisturbed run, to the last bit',
  async () => {
    const running = runs.place.start([
      'launch',
      '--devices=2',
      '--max-restarts=1',
      '--',
      ...runs.args('restarted', ...job, '--strategy=zero2'),
    ]);
    const ranks = await rankProcesses(running, 2);
    await until(() => runs.checkpoints('restarted').length >= 2, 'two checkpoints');
    process.kill(ranks[1] as number, 'SIGKILL');
    const { code, stdout, stderr } = await running.finished;
    expect(stderr).toMatch(/starting all ranks anew \(restart 1 of 1\)/);
    expect(stdout).toMatch(/resumed from .*restarted.checkpoints.step-/);
    expect(code).toBe(0);
    expect(runs.finalState('restarted')).toEqual(runs.finalState(whole('zero2')));
    const rowsOf = (name: string): number =>
      readFileSync(runs.path(name, 'metrics.csv'), 'utf8').trim().split('\n').length;
    expect(rowsOf('restarted')).toBe(rowsOf(whole('zero2')));
  },
  timeoutMs,
);

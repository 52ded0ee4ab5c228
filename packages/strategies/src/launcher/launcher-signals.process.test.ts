/** What happens to the ranks when something happens to their launcher. */
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, expect, it } from 'vitest';
import { allEnded, isRunning, LauncherProcess, rankRunning, watchingRank } from './launch.testing.ts';
import type { LaunchOptions } from './launch-options.ts';

const cleanUp: (() => void)[] = [];

afterEach(() => {
  for (const action of cleanUp.splice(0)) action();
});

function start(command: readonly string[], options: Partial<LaunchOptions> = {}): LauncherProcess {
  const launcher = new LauncherProcess({ command, devices: 2, ...options });
  cleanUp.push(() => launcher.child.kill('SIGKILL'));
  return launcher;
}

/** Kills them after the test, should they still run. */
function mine(pids: readonly number[]): readonly number[] {
  cleanUp.push(() => {
    for (const pid of pids.filter(isRunning)) process.kill(pid, 'SIGKILL');
  });
  return pids;
}

const WAIT_FOR_SIGNAL = `
  let count = 0;
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => { say(name + ' ' + ++count); setTimeout(() => process.exit(count), 300); });
  setInterval(() => {}, 1000);
  say('pid ' + process.pid);`;

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'passes %s on to each rank, once, and waits for them',
  async (signal) => {
    const launcher = start(rankRunning(WAIT_FOR_SIGNAL));
    const pids = mine(await launcher.pids(2));
    // As a terminal does: to the whole process group of the launcher.
    process.kill(-(launcher.child.pid as number), signal);
    expect(await launcher.ended).toBe(1);
    const said = launcher.output.split('\n').filter((line) => line.includes(signal));
    expect(said.sort()).toEqual([`[rank 0] ${signal} 1`, `[rank 1] ${signal} 1`]);
    expect(pids.filter(isRunning)).toEqual([]);
  },
);

it('does not start ranks anew that were asked to end', async () => {
  const launcher = start(rankRunning(WAIT_FOR_SIGNAL), { maxRestarts: 5 });
  mine(await launcher.pids(2));
  launcher.child.kill('SIGTERM');
  expect(await launcher.ended).toBe(1);
  expect(launcher.output).not.toContain('anew');
});

it('kills at the second SIGINT', async () => {
  const launcher = start(
    rankRunning(`process.on('SIGINT', () => say('no')); setInterval(() => {}, 1000); say('pid ' + process.pid);`),
  );
  const pids = mine(await launcher.pids(2));
  launcher.child.kill('SIGINT');
  await launcher.lines(/no$/, 2);
  launcher.child.kill('SIGINT');
  expect(await launcher.ended).toBe(128 + 9);
  expect(pids.filter(isRunning)).toEqual([]);
});

it.each([
  ['idle', 'setInterval(() => {}, 1000);'],
  ['blocked in Atomics.wait', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);'],
  ['computing', 'for (;;);'],
  [
    'deaf to signals',
    `for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {}); setInterval(() => {}, 1000);`,
  ],
])('leaves no rank behind when it is killed: %s', async (_state, code) => {
  const before = launchFolders();
  const launcher = start(watchingRank(`say('pid ' + process.pid); ${code}`));
  const pids = mine(await launcher.pids(2));
  launcher.child.kill('SIGKILL');
  await allEnded(pids);
  expect(launchFolders().filter((folder) => !before.includes(folder))).toEqual([]);
});

it('ends a rank that first watches when its launcher is gone already', async () => {
  const launcher = start(watchingRank(''), { devices: 1 });
  await launcher.ended;
  const late = start(
    [
      ...['env', 'TENSORLOOM_LAUNCHER_SOCKET=/tmp/tensorloom-launch-gone/launcher'],
      ...watchingRank('setInterval(() => {}, 1000);'),
    ],
    { devices: 1 },
  );
  expect(await late.ended).toBe(128 + 9);
});

it('lets a rank that watches end by itself', async () => {
  const launcher = start(watchingRank(`say('done');`));
  expect(await launcher.ended).toBe(0);
  expect(await launcher.lines(/done/, 2)).toHaveLength(2);
});

function launchFolders(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('tensorloom-launch-'));
}

/** What happens to the ranks when something happens to their launcher. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { allEnded, isRunning, LauncherProcess, rankRunning, watchingRank } from './launch.testing.ts';
import type { LaunchOptions } from './launch-options.ts';

const cleanUp: (() => void)[] = [];
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-launcher-'));
});

afterEach(() => {
  for (const action of cleanUp.splice(0)) action();
  rmSync(folder, { recursive: true, force: true });
});

function start(command: readonly string[], options: Partial<LaunchOptions> = {}): LauncherProcess {
  const launcher = new LauncherProcess({ command, devices: 2, ...options }, folder);
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

it('leaves no rank behind when it is killed: idle, blocked, computing or deaf to signals', async () => {
  const launcher = start(
    watchingRank(`
      say('pid ' + process.pid);
      switch (process.env.RANK) {
        case '0': setInterval(() => {}, 1000); break;
        case '1': Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); break;
        case '2': for (;;);
        default:
          for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {});
          setInterval(() => {}, 1000);
      }`),
    { devices: 4 },
  );
  const pids = mine(await launcher.pids(4));
  expect(launchFolders()).toHaveLength(1);
  launcher.child.kill('SIGKILL');
  await allEnded(pids);
  expect(launchFolders()).toEqual([]);
});

it('removes what a launcher has left that was killed with ranks that do not watch it', async () => {
  const idle = rankRunning(`setInterval(() => {}, 1000); say('pid ' + process.pid);`);
  const [killed, alive] = [start(idle), start(idle)];
  const pids = mine([...(await killed.pids(2)), ...(await alive.pids(2))]);
  const before = launchFolders();
  expect(before).toHaveLength(2);
  killed.child.kill('SIGKILL');
  await killed.ended;
  // As if a while had passed.
  for (const name of before) utimesSync(path.join(folder, name), 1, 1);
  expect(await start(rankRunning('')).ended).toBe(0);
  const left = launchFolders();
  expect(left).toHaveLength(1);
  expect(before).toContain(left[0]);
  alive.child.kill('SIGTERM');
  await alive.ended;
  expect(launchFolders()).toEqual([]);
  expect(pids.filter(isRunning)).toHaveLength(2);
});

it('ends a rank that first watches when its launcher is gone already', () => {
  const [program, ...parameters] = watchingRank('setInterval(() => {}, 1000);') as [string, ...string[]];
  const env = { ...process.env, TENSORLOOM_LAUNCHER_SOCKET: path.join(folder, 'gone', 'launcher') };
  expect(spawnSync(program, parameters, { env, timeout: 100_000, killSignal: 'SIGTERM' }).signal).toBe('SIGKILL');
});

it('lets a rank that watches end by itself', async () => {
  const launcher = start(watchingRank(`say('done');`));
  expect(await launcher.ended).toBe(0);
  expect(await launcher.lines(/done/, 2)).toHaveLength(2);
});

function launchFolders(): string[] {
  return readdirSync(folder).filter((name) => name.startsWith('tensorloom-launch-'));
}

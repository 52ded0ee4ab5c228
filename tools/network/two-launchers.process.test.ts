/** A launcher on each of two hosts, and a rank that is killed: both start their ranks anew, which meet again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// The command line exports nothing; these are its tests' small runs.
// eslint-disable-next-line @nx/enforce-module-boundaries
import { TinyRuns } from '../../apps/cli/src/testing/tiny-run.testing.ts';
import { hostsUnavailable, makeHosts, removeHosts } from './hosts.mjs';

const prefix = 'tltwo';
const binary = fileURLToPath(new URL('../../apps/cli/bin/tensorloom', import.meta.url));
const reason = hostsUnavailable();
if (reason !== null) console.log(`The test of launchers on two hosts is left out: ${reason}.`);

describe.skipIf(reason !== null)('two launchers', () => {
  let hosts: ReturnType<typeof makeHosts> = [];
  const launchers: { child: ChildProcess; output: string; exit: Promise<number | null> }[] = [];
  const runs = new TinyRuns('cpu');
  beforeAll(() => {
    hosts = makeHosts(2, { prefix, subnet: '10.231.76' });
  });
  afterAll(() => {
    for (const { child } of launchers) child.kill('SIGKILL');
    removeHosts(2, prefix);
    runs.place.dispose();
  });

  function start(node: number): void {
    const host = hosts[node]!;
    const launch = ['--devices=1', '--num-nodes=2', `--node-rank=${node}`, `--main-address=${hosts[0]!.address}`];
    const token = runs.place.write('token', 'a token of this test alone, of 32 bytes or more');
    const rest = ['--main-port=29613', '--max-restarts=1', `--token-file=${token}`, '--'];
    const command = runs.args('shared', '--strategy=ddp', '--log-every=1', '--max-steps=12');
    const child = spawn('ip', ['netns', 'exec', host.name, binary, 'launch', ...launch, ...rest, ...command], {
      cwd: runs.place.folder,
      env: runs.place.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const launcher = { child, output: '', exit: once(child, 'close').then(([code]) => code as number | null) };
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (launcher.output += chunk.toString()));
    launchers.push(launcher);
  }

  /** The process of rank 1 of this job. */
  function rankOne(): number {
    const pid = readdirSync('/proc').find((name) => {
      try {
        const variables = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0');
        return variables.includes('RANK=1') && variables.includes(`TENSORLOOM_CACHE=${runs.place.path('cache')}`);
      } catch {
        return false;
      }
    });
    if (pid === undefined) throw new Error('rank 1 is not there');
    return Number(pid);
  }

  it('start their ranks anew when one is killed, and the run goes on to its end', async () => {
    start(0);
    start(1);
    while (!launchers[0]!.output.includes('micro-batch 8/')) {
      if (launchers.some(({ child }) => child.exitCode !== null)) break;
      await sleep(20);
    }
    process.kill(rankOne(), 'SIGKILL');
    const codes = await Promise.all(launchers.map(({ exit }) => exit));
    const [first, second] = launchers.map(({ output }) => output);
    expect(first).toMatch(/\[rank 0\] error: .*Rank 1 is lost/);
    expect(second).toContain('rank 1 failed first: ended by SIGKILL');
    for (const output of [first, second]) expect(output).toContain('starting all ranks anew (restart 1 of 1)');
    expect(first).toMatch(/steps +: 12 of/);
    expect(codes).toEqual([0, 0]);
  });
});

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hostsUnavailable, makeHosts, removeHosts, setCut } from './hosts.mjs';

type Host = ReturnType<typeof makeHosts>[number];

interface Rank {
  readonly child: ChildProcess;
  readonly output: { text: string };
  readonly exit: Promise<number | null>;
}

/** Beyond a timeout: generous, since a busy machine must not fail this, and far from the time that the ranks would run. */
const MARGIN_MS = 10_000;

/** Process ids of all that have this job id. */
function processesOf(job: string): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/environ`, 'utf8').includes(`TENSORLOOM_JOB_ID=${job}\0`);
    } catch {
      return false;
    }
  });
}

const prefix = 'tlcut';
const reason = hostsUnavailable();
if (reason !== null) console.log(`The tests of cut links are left out: ${reason}.`);

describe.skipIf(reason !== null)('ws between two hosts', () => {
  let hosts: Host[] = [];
  const ranks: Rank[] = [];
  beforeAll(() => {
    hosts = makeHosts(2, { prefix, subnet: '10.231.78' });
  });
  afterEach(() => {
    for (const { child } of ranks.splice(0)) child.kill('SIGKILL');
    hosts.forEach((host) => setCut(host, false));
  });
  afterAll(() => removeHosts(2, prefix));

  function start(seconds: number, rankTimeoutMs: number, port: number): void {
    for (const [rank, host] of hosts.entries()) {
      const script = path.join(import.meta.dirname, 'all-reduce-rank.ts');
      const node = [
        '--conditions=@tensorloom/source',
        '--import',
        'tsx',
        script,
        String(seconds),
        String(rankTimeoutMs),
      ];
      const child = spawn('ip', ['netns', 'exec', host.name, process.execPath, ...node], {
        env: {
          ...process.env,
          RANK: String(rank),
          LOCAL_RANK: '0',
          GROUP_RANK: String(rank),
          WORLD_SIZE: '2',
          LOCAL_WORLD_SIZE: '1',
          MASTER_ADDR: (hosts[0] as Host).address,
          MASTER_PORT: String(port),
          TENSORLOOM_JOB_ID: `cut-${port}`,
          TENSORLOOM_TOKEN: 'a token of this test alone, of 32 bytes or more',
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const output = { text: '' };
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => (output.text += chunk.toString()));
      ranks.push({ child, output, exit: once(child, 'exit').then(([code]) => code as number | null) });
    }
  }

  async function untilStarted(): Promise<void> {
    for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 50) {
      if (ranks.every(({ output }) => output.text.includes('started'))) return;
      if (ranks.some(({ child }) => child.exitCode !== null)) break;
      await sleep(50);
    }
    throw new Error(`the ranks did not start:\n${ranks.map(({ output }) => output.text).join('\n')}`);
  }

  it('goes on, with right sums, when the link was cut for 3 seconds', async () => {
    start(8, 15_000, 29_611);
    await untilStarted();
    setCut(hosts[1] as Host, true);
    await sleep(3000);
    setCut(hosts[1] as Host, false);
    const codes = await Promise.all(ranks.map(({ exit }) => exit));
    expect(ranks.map(({ output }) => output.text)).toEqual([
      expect.stringContaining('done'),
      expect.stringContaining('done'),
    ]);
    expect(codes).toEqual([0, 0]);
  });

  it('fails on both sides within the rank timeout, each naming the other rank, when it stays cut, and leaves no process', async () => {
    const rankTimeoutMs = 4000;
    start(120, rankTimeoutMs, 29_612);
    await untilStarted();
    expect(processesOf('cut-29612')).not.toEqual([]);
    setCut(hosts[1] as Host, true);
    const cutAt = performance.now();
    const exits = ranks.map(({ exit }) => exit.then((code) => ({ code, afterMs: performance.now() - cutAt })));
    for (const { code, afterMs } of await Promise.all(exits)) {
      expect(code).toBe(1);
      expect(afterMs).toBeLessThan(rankTimeoutMs + MARGIN_MS);
    }
    expect(processesOf('cut-29612')).toEqual([]);
    expect(ranks[0]?.output.text).toMatch(/RANK_LOST: Rank 1 is lost/);
    expect(ranks[1]?.output.text).toMatch(/RANK_LOST: Rank 0 is lost/);
  });
});

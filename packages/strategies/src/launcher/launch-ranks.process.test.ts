/** The launcher with real ranks: their variables, output, failures, restarts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { launchRanks } from './launch-ranks.ts';
import type { LaunchOptions } from './launch-options.ts';
import { Captured, isRunning, rankRunning } from './launch.testing.ts';

interface Launched {
  readonly code: number;
  readonly stdout: Captured;
  readonly stderr: Captured;
}

async function launch(code: string, options: Partial<LaunchOptions> = {}): Promise<Launched> {
  const [stdout, stderr] = [new Captured(), new Captured()];
  const result = await launchRanks({
    command: rankRunning(code),
    devices: 2,
    graceMs: 300,
    killMs: 300,
    stdout,
    stderr,
    ...options,
  });
  return { code: result, stdout, stderr };
}

/** What the ranks said as JSON, by rank. */
function told(stdout: Captured): Record<string, string>[] {
  const lines = stdout.lines.map((line) => /^\[rank (\d+)\] (.*)$/.exec(line) as unknown as [string, string, string]);
  return lines
    .sort((a, b) => Number(a[1]) - Number(b[1]))
    .map(([, , json]) => JSON.parse(json) as Record<string, string>);
}

/** Code for two ranks, neither of which starts at a known time: rank 0 calls `tell(text)`, `heard()` of rank 1 waits for the text. */
const TELLING = `
  const { existsSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
  const pause = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  const tell = (text) => { writeFileSync(process.env.TEST_FILE + '-new', text); renameSync(process.env.TEST_FILE + '-new', process.env.TEST_FILE); };
  const heard = () => { while (!existsSync(process.env.TEST_FILE)) pause(); return readFileSync(process.env.TEST_FILE, 'utf8'); };`;

async function launchTelling(code: string, options: Partial<LaunchOptions> = {}): Promise<Launched> {
  const folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-launch-test-'));
  const variables = { ...process.env, TEST_FILE: path.join(folder, 'told') };
  try {
    return await launch(`${TELLING} ${code}`, { variables, ...options });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const SAY_VARIABLES = 'say(JSON.stringify(process.env))';

it('gives each rank its variables', async () => {
  const { code, stdout } = await launch(SAY_VARIABLES);
  const [first, second] = told(stdout);
  expect(code).toBe(0);
  expect(first).toMatchObject({
    RANK: '0',
    LOCAL_RANK: '0',
    WORLD_SIZE: '2',
    LOCAL_WORLD_SIZE: '2',
    GROUP_RANK: '0',
    NODE_RANK: '0',
  });
  expect(second).toMatchObject({ RANK: '1', LOCAL_RANK: '1', MASTER_ADDR: '127.0.0.1', TENSORLOOM_RESTART_COUNT: '0' });
  for (const name of ['MASTER_PORT', 'TENSORLOOM_JOB_ID', 'TENSORLOOM_TOKEN'])
    expect(first?.[name]).toBe(second?.[name]);
  expect(first?.['TENSORLOOM_TOKEN']).toMatch(/^[0-9a-f]{64}$/);
});

it('numbers the ranks of the second of two machines after those of the first, and agrees with it on the job id', async () => {
  const node = { numNodes: 2, mainAddress: 'host-0', mainPort: 4000, token: 'shared' };
  const first = told((await launch(SAY_VARIABLES, { ...node, nodeRank: 0 })).stdout);
  const second = told((await launch(SAY_VARIABLES, { ...node, nodeRank: 1 })).stdout);
  const [rank2, rank3] = second;
  expect(rank2).toMatchObject({ RANK: '2', LOCAL_RANK: '0', WORLD_SIZE: '4', GROUP_RANK: '1', GROUP_WORLD_SIZE: '2' });
  expect(rank3).toMatchObject({ RANK: '3', MASTER_ADDR: 'host-0', MASTER_PORT: '4000', TENSORLOOM_TOKEN: 'shared' });
  expect(new Set([...first, ...second].map((rank) => rank['TENSORLOOM_JOB_ID'])).size).toBe(1);
});

it('tells apart two jobs at once on one machine', async () => {
  const jobs = await Promise.all([launch(SAY_VARIABLES), launch(SAY_VARIABLES)]);
  const [one, other] = jobs.map(({ stdout }) => told(stdout)[0]);
  for (const name of ['MASTER_PORT', 'TENSORLOOM_JOB_ID', 'TENSORLOOM_TOKEN'])
    expect(one?.[name]).not.toBe(other?.[name]);
});

it("splits the machine's threads among its ranks, unless told otherwise", async () => {
  const threads = async (options: Partial<LaunchOptions>): Promise<(string | undefined)[]> => {
    const { TENSORLOOM_THREADS: _threads, ...variables } = process.env;
    const rank = told((await launch(SAY_VARIABLES, { variables, ...options })).stdout)[0];
    return ['TENSORLOOM_THREADS', 'OMP_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS'].map((name) => rank?.[name]);
  };
  const share = String(Math.max(1, Math.floor(availableParallelism() / 2)));
  expect(await threads({})).toEqual([share, share, share]);
  expect(await threads({ threads: 7 })).toEqual(['7', '7', '7']);
  expect(await threads({ variables: { ...process.env, TENSORLOOM_THREADS: '5' } })).toEqual(['5', '5', '5']);
});

it('gives each rank one of several GPUs', async () => {
  const variables = { ...process.env, CUDA_VISIBLE_DEVICES: '4,GPU-abc' };
  const ranks = told((await launch(SAY_VARIABLES, { variables })).stdout);
  expect(ranks.map((rank) => rank['CUDA_VISIBLE_DEVICES'])).toEqual(['4', 'GPU-abc']);
});

it('puts the rank before each line and tears none, however the ranks write them', async () => {
  const { stdout, stderr } = await launch(`
    process.stdout.write('half ');
    setTimeout(() => {
      process.stdout.write('whole\\n');
      for (let i = 0; i < 3000; i++) process.stdout.write('line ' + i + ' äöü ' + 'x'.repeat(100) + '\\n');
      process.stderr.write('no line break');
    }, 50);`);
  for (const rank of [0, 1]) {
    const own = stdout.lines.filter((line) => line.startsWith(`[rank ${rank}] `));
    expect(own).toHaveLength(3001);
    expect(own[0]).toBe(`[rank ${rank}] half whole`);
    expect(own.slice(1).every((line, i) => line === `[rank ${rank}] line ${i} äöü ${'x'.repeat(100)}`)).toBe(true);
  }
  expect(stderr.lines.sort()).toEqual(['[rank 0] no line break', '[rank 1] no line break']);
});

it('leaves the output of a single rank as it is', async () => {
  expect((await launch("say('alone')", { devices: 1 })).stdout.lines).toEqual(['alone']);
});

it('ends the other ranks when one fails, with its code and a word about it', async () => {
  const { code, stdout, stderr } = await launchTelling(`
    say(JSON.stringify({ pid: String(process.pid) }));
    process.on('SIGTERM', () => {});
    if (process.env.RANK === '1') { heard(); process.exit(3); }
    setInterval(() => {}, 1000);
    tell('I am here');`);
  expect(code).toBe(3);
  expect(stderr.lines).toEqual(['tensorloom launch: rank 1 failed first: exit code 3.']);
  expect(told(stdout).map((rank) => isRunning(Number(rank['pid'])))).toEqual([false, false]);
});

it('gives the others time to say what they saw, and takes the code of the first', async () => {
  const { code, stderr } = await launchTelling(
    `if (process.env.RANK === '0') { tell(String(process.pid)); process.exit(4); }
    // Until the launcher knows.
    for (const pid = Number(heard());;) try { process.kill(pid, 0); pause(); } catch { break; }
    console.error('rank 0 is gone'); process.exit(1);`,
    { graceMs: 60_000 },
  );
  expect(code).toBe(4);
  expect(stderr.lines).toEqual(['tensorloom launch: rank 0 failed first: exit code 4.', '[rank 1] rank 0 is gone']);
});

it('tells a signal as shells do', async () => {
  const { code, stderr } = await launch(
    `if (process.env.RANK === '1') process.kill(process.pid, 'SIGKILL'); else setInterval(() => {}, 1000);`,
  );
  expect(code).toBe(128 + 9);
  expect(stderr.lines).toEqual(['tensorloom launch: rank 1 failed first: ended by SIGKILL.']);
});

it('ends what a rank has started, too', async () => {
  const { stdout } = await launch(`
    const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
    say(JSON.stringify({ pid: String(child.pid) })); process.exit(0);`);
  expect(told(stdout).map((rank) => isRunning(Number(rank['pid'])))).toEqual([false, false]);
});

it('starts all ranks anew after a failure, as another job', async () => {
  const { code, stdout, stderr } = await launch(
    `say(JSON.stringify(process.env)); if (process.env.TENSORLOOM_RESTART_COUNT !== '2') process.exit(5);`,
    { maxRestarts: 3, graceMs: 60_000 },
  );
  const attempts = stdout.lines
    .filter((line) => line.startsWith('[rank 0]'))
    .map((line) => JSON.parse(line.slice(9)) as Record<string, string>);
  expect(code).toBe(0);
  expect(attempts.map((attempt) => attempt['TENSORLOOM_RESTART_COUNT'])).toEqual(['0', '1', '2']);
  for (const name of ['TENSORLOOM_JOB_ID', 'TENSORLOOM_TOKEN'])
    expect(new Set(attempts.map((attempt) => attempt[name])).size).toBe(3);
  expect(stderr.text).toContain('starting all ranks anew (restart 2 of 3)');
});

it('gives up after the last restart', async () => {
  const { code, stderr } = await launch('process.exit(6)', { maxRestarts: 1 });
  expect(code).toBe(6);
  expect(stderr.lines.at(-1)).toBe('tensorloom launch: no restart is left of 1.');
});

it('does not start ranks anew after exit code 2, bad usage', async () => {
  const { code, stdout, stderr } = await launch("say('tried'); process.exitCode = 2;", {
    maxRestarts: 3,
    graceMs: 60_000,
  });
  expect(code).toBe(2);
  expect(stdout.lines.filter((line) => line.startsWith('[rank 0]'))).toHaveLength(1);
  expect(stderr.text).toMatch(/no restart: exit code 2/);
});

it('refuses a program that is not there', async () => {
  const failing = launchRanks({ command: ['/no/such/program'], devices: 2, stderr: new Captured() });
  await expect(failing).rejects.toThrow(/'\/no\/such\/program' cannot be started: .*ENOENT/);
});

it('refuses a port in use', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    await expect(launch('', { mainPort: port })).rejects.toThrow(
      `mainPort ${port} is in use on this machine; give another one`,
    );
  } finally {
    server.close();
  }
});

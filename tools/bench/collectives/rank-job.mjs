/** Starts the ranks of one side of a bench as processes, and gives the JSON line that rank zero prints. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';

/** A port that is free now. */
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Variables as torchrun sets them, and a token for ours.
 * @param {number} worldSize @returns {Promise<NodeJS.ProcessEnv[]>} by rank
 */
export async function rankEnvironments(worldSize, threads = '1') {
  const common = {
    ...process.env,
    WORLD_SIZE: String(worldSize),
    LOCAL_WORLD_SIZE: String(worldSize),
    MASTER_ADDR: '127.0.0.1',
    MASTER_PORT: String(await freePort()),
    TENSORLOOM_JOB_ID: `bench-${randomBytes(6).toString('hex')}`,
    TENSORLOOM_TOKEN: randomBytes(32).toString('hex'),
    OMP_NUM_THREADS: threads,
    MKL_NUM_THREADS: threads,
    TF_NUM_INTRAOP_THREADS: threads,
    TF_CPP_MIN_LOG_LEVEL: '2',
  };
  return Array.from({ length: worldSize }, (_, rank) => ({ ...common, RANK: String(rank), LOCAL_RANK: String(rank) }));
}

/**
 * Runs one command per environment and gives the JSON object that one of them prints.
 * @param {string | ((index: number) => [string, string[]])} command or what gives command and arguments by rank
 * @returns {Promise<any>}
 */
export async function runRanks(name, command, args, environments, timeoutMs = 600_000) {
  const children = environments.map((env, index) => {
    const [program, list] = typeof command === 'function' ? command(index) : [command, args];
    return spawn(program, list, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  });
  let answer;
  const ends = children.map(async (child) => {
    let output = '';
    let errors = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (errors = (errors + chunk).slice(-4000)));
    const code = await new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
    answer ??= output.split('\n').find((line) => line.startsWith('{'));
    if (code !== 0) throw new Error(`${name} failed (${code}):\n${errors}`);
  });
  const timer = setTimeout(() => children.forEach((child) => child.kill('SIGKILL')), timeoutMs);
  try {
    await Promise.all(ends);
  } finally {
    clearTimeout(timer);
    for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
  }
  if (answer === undefined) throw new Error(`${name} ended without an answer.`);
  return JSON.parse(answer);
}

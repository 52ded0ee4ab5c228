/** Ranks as processes of their own, with the variables that a launcher gives. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { deserialize, serialize } from 'node:v8';
import { freePort } from '../launcher/free-port.ts';
import { NOTE_PREFIX, SOURCE_ARGUMENTS, type ToldError } from './scenario.testing.ts';

export interface RankProcessOptions {
  /** `shm`, `ws`, `mpi`, `shm+ws` or `auto`. */
  readonly processGroup: string;
  /** Of the process group. */
  readonly options?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** For all together; then everything is killed and it is an error. */
  readonly timeoutMs: number;
  /** Default 60 s and 30 s: for a busy machine, on which ranks may start long after each other. */
  readonly collectiveTimeoutMs?: number;
  readonly rankTimeoutMs?: number;
  /** Pretends that so many ranks each are on hosts of their own. Default: all on one. */
  readonly ranksPerNode?: number;
  /** Called for each `note(text)` of a scenario: to disturb ranks at the right time. Not under mpirun: there the pids are unknown. */
  readonly onNote?: (rank: number, text: string, pids: readonly number[]) => void;
}

/** By rank. */
export interface RankProcessResults<R> {
  readonly results: readonly (R | undefined)[];
  readonly errors: readonly (ToldError | undefined)[];
  /** Of the processes; null where a signal ended one. Under mpirun there is one, of mpirun itself. */
  readonly exitCodes: readonly (number | null)[];
  readonly outputs: readonly string[];
}

interface RankAnswer {
  readonly result?: unknown;
  readonly error?: ToldError;
}

/** What each rank finds in the file that its variable names. */
export interface RankInput {
  readonly scenarioUrl: string;
  readonly input: unknown;
  readonly processGroup: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly collectiveTimeoutMs: number;
  readonly rankTimeoutMs: number;
}

/** Runs a scenario (a module that exports `scenario`) on `worldSize` ranks, each a process. Fails only if it takes too long. */
export async function runRankProcesses<R>(
  worldSize: number,
  scenarioUrl: string | URL,
  input: unknown,
  options: RankProcessOptions,
): Promise<RankProcessResults<R>> {
  const folder = await mkdtemp(path.join(tmpdir(), 'tensorloom-ranks-'));
  const started: ChildProcess[] = [];
  try {
    const given: RankInput = {
      scenarioUrl: String(scenarioUrl),
      input,
      processGroup: options.processGroup,
      options: options.options ?? {},
      collectiveTimeoutMs: options.collectiveTimeoutMs ?? 60_000,
      rankTimeoutMs: options.rankTimeoutMs ?? 30_000,
    };
    await writeFile(path.join(folder, 'input'), serialize(given));
    const shared: NodeJS.ProcessEnv = {
      ...process.env,
      WORLD_SIZE: String(worldSize),
      MASTER_ADDR: '127.0.0.1',
      MASTER_PORT: String(await freePort()),
      TENSORLOOM_JOB_ID: `test-${randomBytes(6).toString('hex')}`,
      TENSORLOOM_TOKEN: randomBytes(16).toString('hex'),
      TENSORLOOM_TEST_FOLDER: folder,
      ...options.env,
    };
    const entry = [...SOURCE_ARGUMENTS, fileURLToPath(new URL('./rank-process.testing.ts', import.meta.url))];
    if (options.processGroup === 'mpi') started.push(startMpi(worldSize, entry, shared));
    else
      for (let rank = 0; rank < worldSize; rank++)
        started.push(startRank(rank, worldSize, entry, shared, options.ranksPerNode));
    const outputs = started.map(() => '');
    const pids = started.map((child) => child.pid as number);
    started.forEach((child, rank) => {
      const hear = (data: Buffer): void => {
        const text = data.toString();
        outputs[rank] = `${outputs[rank] ?? ''}${text}`;
        for (const line of text.split('\n'))
          if (line.startsWith(NOTE_PREFIX)) options.onNote?.(rank, line.slice(NOTE_PREFIX.length), pids);
      };
      child.stdout?.on('data', hear);
      child.stderr?.on('data', hear);
    });
    const exitCodes = await withTimeout(
      Promise.all(started.map((child) => new Promise<number | null>((resolve) => child.once('close', resolve)))),
      options.timeoutMs,
      () => `Ranks did not end within ${options.timeoutMs / 1000} s. Output:\n${outputs.join('\n---\n')}`,
    );
    const answers = await Promise.all(Array.from({ length: worldSize }, (_, rank) => readAnswer(folder, rank)));
    return {
      results: answers.map((answer) => answer.result as R | undefined),
      errors: answers.map((answer) => answer.error),
      exitCodes,
      outputs,
    };
  } finally {
    for (const child of started) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

/** The results, if all ranks had one; else an error with what the ranks said. */
export function resultsOf<R>(run: RankProcessResults<R>): R[] {
  if (run.exitCodes.every((code) => code === 0) && run.results.every((result) => result !== undefined))
    return [...run.results] as R[];
  const told = run.errors.map(
    (error, rank) => `rank ${rank}: ${error === undefined ? 'no error told' : `${error.code} ${error.message}`}`,
  );
  throw new Error(
    `Ranks failed (exit codes ${run.exitCodes.join(', ')}).\n${told.join('\n')}\n${run.outputs.join('\n---\n')}`,
  );
}

function startRank(
  rank: number,
  worldSize: number,
  entry: readonly string[],
  shared: NodeJS.ProcessEnv,
  ranksPerNode = worldSize,
): ChildProcess {
  const node = Math.floor(rank / ranksPerNode);
  const env = {
    ...shared,
    RANK: String(rank),
    LOCAL_RANK: String(rank % ranksPerNode),
    LOCAL_WORLD_SIZE: String(Math.min(ranksPerNode, worldSize - node * ranksPerNode)),
    GROUP_RANK: String(node),
    TENSORLOOM_TEST_NODES: String(Math.ceil(worldSize / ranksPerNode)),
  };
  // Its standard input ends when this process does, however that happens.
  return spawn(process.execPath, [...entry], { env, stdio: ['pipe', 'pipe', 'pipe'] });
}

function startMpi(worldSize: number, entry: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  const mpirun = ['--allow-run-as-root', '--oversubscribe', '-np', String(worldSize)];
  return spawn('mpirun', [...mpirun, process.execPath, ...entry], { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function readAnswer(folder: string, rank: number): Promise<RankAnswer> {
  try {
    return deserialize(await readFile(path.join(folder, `rank-${rank}`))) as RankAnswer;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

async function withTimeout<T>(work: Promise<T>, timeoutMs: number, message: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(message()));
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What the launcher takes, checked once. */
import { availableParallelism } from 'node:os';
import { TensorloomError } from '@tensorloom/core/distributed';
import { z } from 'zod';
import { readToken, VariableReader, type Variables } from '../environments/variables.ts';

/** Options of `launchRanks`. */
export interface LaunchOptions {
  /** What each rank runs: a program and its arguments. */
  readonly command: readonly string[];
  /** Ranks on this machine. */
  readonly devices: number;
  /** Machines; on each of them a launcher is started, with the same options but `nodeRank` (default 1). */
  readonly numNodes?: number;
  /** 0 .. numNodes - 1; must be given on several machines, here or as NODE_RANK or JOB_COMPLETION_INDEX. */
  readonly nodeRank?: number;
  /** Host name or address of machine 0, as the others reach it; must be given on several machines, here or as MASTER_ADDR (default 127.0.0.1). */
  readonly mainAddress?: string;
  /** Where rank 0 listens (default: a free port on one machine, MASTER_PORT or 29500 on several). */
  readonly mainPort?: number;
  /** Secret of the job. Default: TENSORLOOM_TOKEN or TENSORLOOM_TOKEN_FILE, else a random one; on several machines one of them must be given. */
  readonly token?: string;
  /** Compute threads of each rank (default: this machine's, divided among its ranks). */
  readonly threads?: number;
  /** How often all ranks are started anew after a failure (default 0). */
  readonly maxRestarts?: number;
  /** How long, in milliseconds, the other ranks may go on after one has failed, so that they can say what they saw (default 5000). */
  readonly graceMs?: number;
  /** How long, in milliseconds, ranks have to end after SIGTERM, before SIGKILL (default 10000). */
  readonly killMs?: number;
  /** The ranks inherit these (default: `process.env`). */
  readonly variables?: Variables;
  /** How messages name an option (default: by its name here): a command line has flags. */
  readonly optionName?: (option: string) => string;
  /** Where the ranks' output goes (default: this process's). */
  readonly stdout?: NodeJS.WritableStream;
  readonly stderr?: NodeJS.WritableStream;
}

/** `LaunchOptions` with all defaults. */
export interface ResolvedLaunch {
  readonly command: readonly string[];
  readonly devices: number;
  readonly numNodes: number;
  readonly nodeRank: number;
  readonly mainAddress: string;
  /** Undefined: a free one for each attempt. */
  readonly mainPort: number | undefined;
  /** Undefined: a random one for each attempt. */
  readonly token: string | undefined;
  readonly threads: number;
  readonly maxRestarts: number;
  readonly graceMs: number;
  readonly killMs: number;
  readonly variables: Variables;
  readonly optionName: (option: string) => string;
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

const whole = (low: number, high: number, what: string): z.ZodNumber => {
  const expected = `expected ${what}`;
  return z.int(expected).min(low, expected).max(high, expected);
};
const milliseconds = whole(0, 86_400_000, 'milliseconds, 0 to 86400000').optional();
const stream = z.custom<NodeJS.WritableStream>(
  (value) => typeof (value as NodeJS.WritableStream | null)?.write === 'function',
  'expected a stream',
);

const schema = z.strictObject({
  command: z.array(z.string(), 'expected a program and its arguments').min(1, 'expected a program and its arguments'),
  devices: whole(1, 4096, 'a whole number of ranks, 1 to 4096'),
  numNodes: whole(1, 100_000, 'a whole number of machines, at least 1').optional(),
  nodeRank: whole(0, 99_999, 'the number of this machine, at least 0').optional(),
  mainAddress: z
    .string()
    .regex(/^[^\s/]+$/, 'expected a host name or an address')
    .optional(),
  mainPort: whole(1, 65_535, 'a port, 1 to 65535').optional(),
  token: z.string().min(1, 'expected a secret').optional(),
  threads: whole(1, 4096, 'a whole number of threads, at least 1').optional(),
  maxRestarts: whole(0, 1_000_000, 'a whole number of restarts, at least 0').optional(),
  graceMs: milliseconds,
  killMs: milliseconds,
  variables: z.record(z.string(), z.string().optional()).optional(),
  optionName: z.custom<(option: string) => string>((value) => typeof value === 'function').optional(),
  stdout: stream.optional(),
  stderr: stream.optional(),
});

/** @throws TensorloomError `BAD_OPTION` naming each option that is unknown, missing or out of range */
export function resolveLaunch(options: LaunchOptions): ResolvedLaunch {
  const parsed = schema.safeParse(options);
  if (!parsed.success) throw bad(parsed.error.issues.map((issue) => describe(issue, options)).join('; '));
  const { numNodes = 1, variables = process.env, optionName: name = ownName } = options;
  const { nodeRank, mainAddress, mainPort } =
    numNodes > 1 ? { ...fromVariables(variables), ...given(options) } : options;
  const token = options.token ?? readToken(variables, 'launch');
  if (nodeRank !== undefined && nodeRank >= numNodes)
    throw bad(
      `${name('nodeRank')} is ${nodeRank}, but ${name('numNodes')} is ${numNodes}; expected 0 to ${numNodes - 1}`,
    );
  if (numNodes > 1) {
    const missing = [
      ...(nodeRank === undefined
        ? [`${name('nodeRank')} (NODE_RANK; which of the ${numNodes} machines this is, from 0)`]
        : []),
      ...(mainAddress === undefined
        ? [`${name('mainAddress')} (MASTER_ADDR; the host name or address of machine 0)`]
        : []),
      ...(token === undefined
        ? [`${name('token')} (TENSORLOOM_TOKEN or TENSORLOOM_TOKEN_FILE; a secret, the same on all machines)`]
        : []),
    ];
    if (missing.length > 0) throw bad(`${name('numNodes')} is ${numNodes}; give ${missing.join(' and ')}`);
  }
  return {
    command: options.command,
    devices: options.devices,
    numNodes,
    nodeRank: nodeRank ?? 0,
    mainAddress: mainAddress ?? '127.0.0.1',
    mainPort: mainPort ?? (numNodes > 1 ? DEFAULT_PORT : undefined),
    token,
    threads:
      options.threads ?? threadsOf(variables) ?? Math.max(1, Math.floor(availableParallelism() / options.devices)),
    maxRestarts: options.maxRestarts ?? 0,
    graceMs: options.graceMs ?? 5_000,
    killMs: options.killMs ?? 10_000,
    variables,
    optionName: name,
    stdout: options.stdout ?? process.stdout,
    stderr: options.stderr ?? process.stderr,
  };
}

/** Where rank 0 of several machines listens by default. */
const DEFAULT_PORT = 29_500;

/** Where this machine stands among several, as cluster managers tell it. */
function fromVariables(variables: Variables): Place {
  const reader = new VariableReader('launch', variables);
  return {
    nodeRank: reader.integer(0, Number.MAX_SAFE_INTEGER, 'NODE_RANK', 'GROUP_RANK', 'JOB_COMPLETION_INDEX'),
    mainAddress: reader.text('MASTER_ADDR'),
    mainPort: reader.port('MASTER_PORT'),
  };
}

interface Place {
  readonly nodeRank: number | undefined;
  readonly mainAddress: string | undefined;
  readonly mainPort: number | undefined;
}

function given({ nodeRank, mainAddress, mainPort }: LaunchOptions): Partial<Place> {
  return Object.fromEntries(
    Object.entries({ nodeRank, mainAddress, mainPort }).filter(([, value]) => value !== undefined),
  );
}

/** What the user has set for the whole job. */
function threadsOf(variables: Variables): number | undefined {
  const given = variables['TENSORLOOM_THREADS'];
  if (given === undefined || given === '') return undefined;
  if (/^[1-9]\d{0,3}$/.test(given)) return Number(given);
  throw bad(`TENSORLOOM_THREADS is '${given}'; expected a whole number of threads, at least 1`);
}

function describe(issue: z.core.$ZodIssue, options: LaunchOptions): string {
  if (issue.code === 'unrecognized_keys')
    return `it has no option ${issue.keys.map((key) => `'${key}'`).join(', ')} (it has: ${Object.keys(schema.shape).join(', ')})`;
  const option = String(issue.path[0]);
  const given = (options as unknown as Readonly<Record<string, unknown>>)[option];
  // A secret stays out of messages.
  const name = (options.optionName ?? ownName)(option);
  return `${name} is ${option === 'token' ? 'empty or no text' : (JSON.stringify(given) ?? 'not given')}; ${issue.message}`;
}

function ownName(option: string): string {
  return option;
}

function bad(problem: string): TensorloomError {
  return new TensorloomError('BAD_OPTION', `launch: ${problem}.`);
}

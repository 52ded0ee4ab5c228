/** Flags of `launch` and `run`: how many ranks on which machines, and what happens when one fails. */
import { existsSync, readFileSync } from 'node:fs';
import { InvalidArgumentError, type Command } from 'commander';
import { flagName } from '../config/schema.ts';
import { UsageError } from '../errors.ts';

/** What the command line gives; the launcher's own defaults and environment variables hold for the rest. */
export interface GivenLaunch {
  readonly devices?: number;
  readonly numNodes?: number;
  readonly nodeRank?: number;
  readonly mainAddress?: string;
  readonly mainPort?: number;
  readonly maxRestarts?: number;
  readonly threads?: number;
  /** The job's secret. */
  readonly token?: string;
}

/** How messages of the launcher name its options. */
export function flagOf(option: string): string {
  return `--${option === 'token' ? 'token-file' : flagName(option)}`;
}

export function addLaunchFlags(command: Command): void {
  command
    .option('--devices <n>', 'ranks on this machine (default: 1)', wholeNumber(1))
    .option('--num-nodes <n>', 'machines; start this command on each of them (default: 1)', wholeNumber(1))
    .option('--node-rank <n>', 'which of the machines this is, from 0 (default: NODE_RANK)', wholeNumber(0))
    .option('--main-address <host>', 'machine 0, as the others reach it (default: MASTER_ADDR)')
    .option(
      '--main-port <n>',
      'port on machine 0 (default: a free one; on several machines MASTER_PORT, else 29500)',
      wholeNumber(1),
    )
    .option(
      '--token-file <file>',
      'file with the secret of the job, the same on all machines (default: TENSORLOOM_TOKEN)',
    )
    .option('--max-restarts <n>', 'how often all ranks are started anew after a failure (default: 0)', wholeNumber(0))
    .option('--threads <n>', "compute threads of each rank (default: the machine's, divided)", wholeNumber(1));
}

/** @throws UsageError for a file of the secret that is not there or empty */
export function givenLaunchOptions(parsed: Readonly<Record<string, unknown>>): GivenLaunch {
  const { devices, numNodes, nodeRank, mainAddress, mainPort, maxRestarts, threads, tokenFile } = parsed;
  const options = { devices, numNodes, nodeRank, mainAddress, mainPort, maxRestarts, threads };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const token = tokenFile === undefined ? {} : { token: readSecret(tokenFile as string) };
  return { ...Object.fromEntries(given), ...token };
}

function readSecret(path: string): string {
  const secret = existsSync(path) ? readFileSync(path, 'utf8').split('\n', 1)[0]?.trim() : undefined;
  if (secret === undefined || secret === '')
    throw new UsageError(`--token-file=${path}: expected a file whose first line is the secret of the job.`);
  return secret;
}

function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least) return value;
    throw new InvalidArgumentError(`It is not a whole number of at least ${least}.`);
  };
}

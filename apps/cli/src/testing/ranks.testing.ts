/** For tests: the rank processes of a launcher, found by what Linux tells of processes. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { until, type Running } from './command-line.testing.ts';

/** Process ids of the ranks that `running` has started, by rank. Waits until `count` are there. */
export async function rankProcesses(running: Running, count: number): Promise<number[]> {
  const launcher = running.process.pid as number;
  let ranks: number[] = [];
  const find = (): boolean => {
    // A child of another kind has no rank.
    const children = childrenOf(launcher).filter((pid) => !Number.isNaN(rankOf(pid)));
    ranks = children.sort((a, b) => rankOf(a) - rankOf(b));
    return ranks.length === count;
  };
  await until(find, `${count} ranks of process ${launcher}`);
  return ranks;
}

/** Whether a process is there and is no zombie. */
export function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Waits until none of them is left. */
export function allGone(pids: readonly number[]): Promise<void> {
  return until(() => !pids.some(isAlive), `the end of processes ${pids.join(', ')}`, 30_000);
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent);
}

function parentOf(pid: number): number | undefined {
  try {
    const [, parent] = /\) \S (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    return Number(parent);
  } catch {
    return undefined;
  }
}

function rankOf(pid: number): number {
  try {
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return Number(variables.find((entry) => entry.startsWith('RANK='))?.slice('RANK='.length) ?? Number.NaN);
  } catch {
    return Number.NaN;
  }
}

/** Makes the folder of a new run, and writes its options. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolders, writeFileAtomically } from '@tensorloom/core';
import { stringify } from 'yaml';
import { namedOptions, type ResolvedConfig } from '../config/resolve.ts';
import type { RunConfig } from '../config/schema.ts';
import { UsageError } from '../errors.ts';
import { RunFolder } from './run-folder.ts';

/**
 * Makes `outputDir/name` and writes the resolved options into it, which also shows that it can be written to.
 * @throws UsageError if it cannot be made or holds a run already
 */
export async function createRunFolder(resolved: ResolvedConfig, started: Date): Promise<RunFolder> {
  const { outputDir, runName } = resolved.config;
  refuseTakenName(resolved.config);
  const wanted = join(outputDir, runName ?? timestamp(started));
  try {
    makeFolders(outputDir);
    const folder = new RunFolder(runName === undefined ? claimFree(wanted) : wanted);
    makeFolders(folder.checkpoints);
    await writeConfig(folder, resolved);
    return folder;
  } catch (error) {
    throw new UsageError(
      `Cannot write the run folder ${wanted}: ${(error as Error).message.replace(/\.?$/, '.')} Choose another --output-dir.`,
      { cause: error },
    );
  }
}

/** @throws UsageError if the run was given the name of another */
export function refuseTakenName({ outputDir, runName }: Pick<RunConfig, 'outputDir' | 'runName'>): void {
  if (runName === undefined) return;
  const path = join(outputDir, runName);
  if (existsSync(path) && !isEmptyFolder(path))
    throw new UsageError(`${path} exists already. Go on with it by --resume=${path}, or choose another --run-name.`);
}

/** The options as YAML, which `--config` reads, and as JSON with the origin of each. */
export async function writeConfig(folder: RunFolder, { config, origins }: ResolvedConfig): Promise<void> {
  const options = namedOptions(config);
  await writeFileAtomically(folder.configYaml, stringify(options));
  await writeFileAtomically(folder.configJson, `${JSON.stringify({ options, origins }, null, 2)}\n`);
}

/** The folder of a new run goes with the process, however it ends, until the function that this returns is called. */
export function discardAtExit(folder: RunFolder): () => void {
  const discard = (): void => rmSync(folder.path, { recursive: true, force: true });
  process.once('exit', discard);
  return () => void process.off('exit', discard);
}

function isEmptyFolder(path: string): boolean {
  try {
    return readdirSync(path).length === 0;
  } catch {
    return false;
  }
}

/** `2026-11-24_07-25-48`, local time. */
function timestamp(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day}_${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join('-')}`;
}

/** Makes `path`, or `path-2`, … where two runs start within a second, and returns which. */
function claimFree(path: string): string {
  for (let attempt = 1; ; attempt++) {
    const candidate = attempt === 1 ? path : `${path}-${attempt}`;
    try {
      mkdirSync(candidate);
      return candidate;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

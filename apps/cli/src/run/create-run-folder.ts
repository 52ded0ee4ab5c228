/** Makes the folder of a new run, and writes its options. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolders, writeFileAtomically } from '@tensorloom/core';
import { stringify } from 'yaml';
import { namedOptions, type ResolvedConfig } from '../config/resolve.ts';
import { UsageError } from '../errors.ts';
import { RunFolder } from './run-folder.ts';

/**
 * Makes `outputDir/name` and writes the resolved options into it, which also shows that it can be written to.
 * @throws UsageError if it cannot be made or holds a run already
 */
export async function createRunFolder(resolved: ResolvedConfig, started: Date): Promise<RunFolder> {
  const { outputDir, runName } = resolved.config;
  const folder = new RunFolder(join(outputDir, runName ?? freeName(outputDir, timestamp(started))));
  if (existsSync(folder.path) && runName !== undefined && !isEmptyFolder(folder.path))
    throw new UsageError(
      `${folder.path} exists already. Go on with it by --resume=${folder.path}, or choose another --run-name.`,
    );
  try {
    makeFolders(folder.checkpoints);
    await writeConfig(folder, resolved);
  } catch (error) {
    throw new UsageError(
      `Cannot write the run folder ${folder.path}: ${(error as Error).message.replace(/\.?$/, '.')} Choose another --output-dir.`,
      { cause: error },
    );
  }
  return folder;
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

/** `name`, or `name-2`, … where two runs start within a second. */
function freeName(folder: string, name: string): string {
  for (let attempt = 1; ; attempt++) {
    const candidate = attempt === 1 ? name : `${name}-${attempt}`;
    if (!existsSync(join(folder, candidate))) return candidate;
  }
}

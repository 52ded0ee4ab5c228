/** The folder that a run leaves behind. Layout: see README.md. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { namedOptions, type ResolvedConfig } from '../config/resolve.ts';
import { UsageError } from '../errors.ts';

export class RunFolder {
  constructor(readonly path: string) {}

  get checkpoints(): string {
    return join(this.path, 'checkpoints');
  }

  /** The trained model, in Hugging Face's format, with its tokenizer. */
  get model(): string {
    return join(this.path, 'model');
  }

  get configJson(): string {
    return join(this.path, 'config.json');
  }

  get configYaml(): string {
    return join(this.path, 'config.yaml');
  }

  get metrics(): string {
    return join(this.path, 'metrics.csv');
  }

  get summary(): string {
    return join(this.path, 'summary.json');
  }

  /** Folder with the tokenizer.json of the run, and what else came with it. */
  get tokenizer(): string {
    return join(this.path, 'tokenizer');
  }

  writeConfig(resolved: ResolvedConfig): void {
    const options = namedOptions(resolved.config);
    writeFileAtomically(this.configYaml, stringify(options));
    writeFileAtomically(this.configJson, `${JSON.stringify({ options, origins: resolved.origins }, null, 2)}\n`);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  writeSummary(summary: object): void {
    writeFileAtomically(this.summary, `${JSON.stringify(summary, null, 2)}\n`);
  }
}

/**
 * Makes `outputDir/name` and writes the resolved configuration into it, which also shows that it can be written to.
 * @throws UsageError if it cannot be made or holds a run already
 */
export function createRunFolder(resolved: ResolvedConfig, started: Date): RunFolder {
  const { outputDir, runName } = resolved.config;
  const folder = new RunFolder(join(outputDir, runName ?? freeName(outputDir, timestamp(started))));
  if (existsSync(folder.path) && runName !== undefined && !isEmptyFolder(folder.path))
    throw new UsageError(
      `${folder.path} exists already. Go on with it by --resume=${folder.path}, or choose another --run-name.`,
    );
  try {
    mkdirSync(folder.checkpoints, { recursive: true });
    folder.writeConfig(resolved);
  } catch (error) {
    throw new UsageError(
      `Cannot write the run folder ${folder.path}: ${(error as Error).message}. Choose another --output-dir.`,
      { cause: error },
    );
  }
  return folder;
}

/** Writes to a temporary name, flushes to the disk and renames, so that a reader finds the old or the new content, never half of it. */
export function writeFileAtomically(path: string, content: string): void {
  const temporary = `${path}.tmp-${process.pid}`;
  const file = openSync(temporary, 'w');
  try {
    writeFileSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
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

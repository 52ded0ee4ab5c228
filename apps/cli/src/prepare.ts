/** `tensorloom prepare`: does ahead what a run would do first (download, tokenizer, ids), and says what the cache holds. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { defaultCacheDir, type TokenizedSplit } from '@tensorloom/data';
import { resolveConfig } from './config/resolve.ts';
import type { PartialRunConfig } from './config/schema.ts';
import { formatBytes, formatCount, formatDuration } from './run/format.ts';
import { createProgress } from './run/progress.ts';
import { Signals } from './run/signals.ts';
import { chooseTokenizer, openSource, tokenizeSource } from './setup/data.ts';
import { folderOf, locateModel } from './setup/model.ts';

export async function prepare(flags: PartialRunConfig): Promise<void> {
  const signals = new Signals().listen();
  const { config } = resolveConfig({ flags });
  const progress = createProgress(config);
  const started = performance.now();
  const located = await locateModel(config.model, progress);
  const source = await openSource(config, progress);
  const { tokenizer, origin } = await chooseTokenizer(config, folderOf(located), source, progress);
  progress.line(`tokenizer: ${origin}`);
  const data = await tokenizeSource(source, tokenizer, config.maxLength, progress);
  for (const part of ['train', 'validation', 'test'] as const)
    progress.line(`${part.padEnd(10)} : ${describe(data[part])}`);
  progress.line(
    `ready after ${formatDuration((performance.now() - started) / 1000)} (texts cut to ${config.maxLength} tokens)`,
  );
  progress.line(describeCache(defaultCacheDir()));
  signals.close();
}

function describe(split: TokenizedSplit): string {
  const lengths = split.lengths();
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  return `${formatCount(split.length)} texts, ${formatCount(tokens)} tokens, ${(tokens / Math.max(1, split.length)).toFixed(1)} on average, ${longest} at most`;
}

/** Folder, and the number and size of the files of each kind in it. */
function describeCache(folder: string): string {
  const kinds = existsSync(folder)
    ? readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    : [];
  const lines = kinds.map(({ name }) => {
    const files = readdirSync(join(folder, name), { withFileTypes: true }).filter((entry) => entry.isFile());
    const bytes = files.reduce((sum, file) => sum + statSync(join(folder, name, file.name)).size, 0);
    return `  ${name}: ${files.length} files, ${formatBytes(bytes)}`;
  });
  return [`cache ${folder}:`, ...lines].join('\n');
}

/** `tensorloom consolidate`: from a checkpoint of any strategy and number of ranks to a folder in Hugging Face format, in one process. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { TensorloomError, type StoredState } from '@tensorloom/core';
import { describeStoredModel, saveModelState, type StoredModel } from '@tensorloom/models';
import { findCheckpoint, type FoundCheckpoint } from './consolidate-source.ts';
import { UsageError } from './errors.ts';
import { formatBytes, formatCount } from './run/format.ts';
import { readRecordedConfig } from './run/resume.ts';
import { paddingSideOf } from './setup/data.ts';

export interface ConsolidateRequest {
  /** Checkpoint folder, run folder, or a folder of checkpoints. */
  readonly checkpoint: string;
  readonly out: string;
  readonly maxShardBytes?: number;
  readonly tokenizer?: string;
  readonly key?: string;
  readonly force?: boolean;
}

/** @throws UsageError, TensorloomError `BAD_CHECKPOINT`, `BAD_OPTION`, `IO`; `out` is then what it was */
export async function consolidate(request: ConsolidateRequest): Promise<void> {
  refuseTakenFolder(request);
  const found = await findCheckpoint(request.checkpoint);
  const { stored, model } = findModel(found, request.key);
  const { config, architecture } = model;
  const tokenizer = tokenizerOf(found, request.tokenizer);
  await saveModelState(
    request.out,
    { config, architecture, state: stored },
    { ...tokenizer, ...(request.maxShardBytes === undefined ? {} : { maxShardBytes: request.maxShardBytes }) },
  );
  const files = readdirSync(request.out);
  const weights = files.filter((name) => name.endsWith('.safetensors'));
  const bytes = weights.reduce((sum, name) => sum + statSync(join(request.out, name)).size, 0);
  const parameters = [...stored.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  process.stdout.write(
    `${request.out}: ${architecture} of ${found.path}, ${formatCount(parameters)} parameters, ${formatBytes(bytes)} in ${weights.length} ${weights.length === 1 ? 'file' : 'files'}\n`,
  );
  if (tokenizer.tokenizer === undefined)
    process.stderr.write('without a tokenizer: the checkpoint lies in no run folder, and no --tokenizer was given\n');
}

/** Before anything is read: a long command should not fail at its end for this. */
function refuseTakenFolder({ checkpoint, out, force }: ConsolidateRequest): void {
  if (!existsSync(out)) return;
  if (!statSync(out).isDirectory()) throw new UsageError(`${out} is a file. Choose another folder to write to.`);
  // Replacing a folder replaces all that is in it.
  if (`${resolve(checkpoint)}${sep}`.startsWith(`${resolve(out)}${sep}`))
    throw new UsageError(`${out} holds the checkpoint that is to be read. Choose another folder to write to.`);
  if (readdirSync(out).length > 0 && force !== true)
    throw new UsageError(
      `${out} exists already and is not empty. Choose another folder, or add --force to replace it.`,
    );
}

function findModel(found: FoundCheckpoint, key: string | undefined): { stored: StoredState; model: StoredModel } {
  const { statefuls } = found.opened;
  const all = [...statefuls.keys()].filter((name) => !name.startsWith('fabric.'));
  if (key !== undefined && !statefuls.has(key))
    throw new UsageError(`--key=${key}: ${found.path} has no such entry; it has ${all.join(', ') || 'none'}.`);
  const models = (key === undefined ? all : [key]).flatMap((name) => {
    const stored = statefuls.get(name) as StoredState;
    const model = describeStoredModel(stored.values, `'${name}' of ${found.path}`);
    return model === undefined ? [] : [{ name, stored, model }];
  });
  const [only, ...others] = models;
  if (only === undefined)
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `${found.path} holds no model with its configuration (it has ${all.join(', ') || 'nothing'}). Only models of @tensorloom/models that were saved as such can become a folder.`,
    );
  if (others.length > 0)
    throw new UsageError(
      `${found.path} holds several models: ${models.map(({ name }) => name).join(', ')}. Choose one by --key.`,
    );
  return only;
}

/** As at the end of a run: its tokenizer, and the padding side that it was asked for. */
function tokenizerOf(
  { run }: FoundCheckpoint,
  given: string | undefined,
): { readonly tokenizer?: string; readonly paddingSide?: 'left' | 'right' } {
  const own = run !== undefined && existsSync(run.tokenizer) ? run.tokenizer : undefined;
  const tokenizer = given ?? own;
  if (tokenizer === undefined) return {};
  const asked = run === undefined ? undefined : readRecordedConfig(run).options.paddingSide;
  const folder = basename(tokenizer) === 'tokenizer.json' ? dirname(tokenizer) : tokenizer;
  return { tokenizer, paddingSide: asked ?? paddingSideOf(folder) };
}

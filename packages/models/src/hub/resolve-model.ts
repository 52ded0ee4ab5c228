/** What `--model` means: a model folder, a preset, or a model on the Hugging Face hub. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { suggestion, TensorloomError } from '@tensorloom/core';
import { isPreset, preset, presetNames, type Preset } from '../bloom/presets.ts';
import { configFile, isModelFolder } from '../hugging-face/model-files.ts';
import { hubSnapshot, type HubOptions } from './snapshot.ts';

/** What a `--model` turned out to be. */
export type ResolvedModel =
  /** Random weights of a named size. */
  | { readonly kind: 'preset'; readonly preset: Preset }
  | { readonly kind: 'folder'; readonly folder: string }
  /** A snapshot in the hub's cache. */
  | { readonly kind: 'hub'; readonly folder: string; readonly id: string; readonly commit: string };

const hubId = /^[A-Za-z0-9][\w.-]*\/[\w.-]+(@[\w./-]+)?$/;

/**
 * In this order: the name of a preset; a folder that exists; `owner/name` or `owner/name@revision` on the hub, downloaded into the
 * standard cache unless it is there. Write `./name` for a folder that is called as a preset is.
 * @throws TensorloomError `UNKNOWN_NAME` for a mistyped preset, `BAD_OPTION` for a folder that is not a model's, `OFFLINE` where the hub cannot be reached
 */
export async function resolveModel(spec: string, options: HubOptions = {}): Promise<ResolvedModel> {
  if (isPreset(spec)) return { kind: 'preset', preset: preset(spec) };
  const folder = resolve(spec.startsWith('~/') ? join(homedir(), spec.slice(2)) : spec);
  if (existsSync(folder)) {
    if (isModelFolder(folder)) return { kind: 'folder', folder };
    throw new TensorloomError('BAD_OPTION', `${spec} is there but is not a model folder: it has no ${configFile}.`);
  }
  if (/^(\.{1,2}|~)?\//.test(spec) || spec === '')
    throw new TensorloomError('BAD_OPTION', `There is no model folder '${spec}'.`);
  if (hubId.test(spec)) {
    const [id, revision] = spec.split('@') as [string, string | undefined];
    const snapshot = await hubSnapshot(id, { ...options, ...(revision === undefined ? {} : { revision }) });
    return { kind: 'hub', id, ...snapshot };
  }
  throw new TensorloomError(
    'UNKNOWN_NAME',
    `Unknown model '${spec}'.${suggestion(spec, presetNames)} A model is a preset (${presetNames.join(', ')}), a folder with a ${configFile}, or a hub id such as bigscience/bloom-560m.`,
  );
}

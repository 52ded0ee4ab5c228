/** What goes into a checkpoint and how it comes back: the user's pieces by key, and Fabric's own under `fabric.*`. */
import type { CheckpointContent, OpenedCheckpoint } from '../checkpoints/checkpoint-io.ts';
import { TensorloomError } from '../errors.ts';
import { Module } from '../modules/module.ts';
import { Optimizer } from '../optimizers/optimizer.ts';
import type { Json, JsonObject, StateDict, Stateful, StoredState } from '../stateful.ts';
import type { Tensor } from '../tensors.ts';

/** Modules, optimizers, loaders and other Statefuls, set up or not, and JSON values. */
export type CheckpointState = Record<string, unknown>;

/** Per key of the state: which entries of its state dict to keep. */
export type SaveFilter = Readonly<Record<string, (name: string, value: Tensor | Json) => boolean>>;

const ownPrefix = 'fabric.';

export function isStateful(value: unknown): value is Stateful {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Partial<Stateful>).stateDict === 'function' &&
    typeof (value as Partial<Stateful>).loadStateDict === 'function'
  );
}

/** @throws TensorloomError `MISUSE` for reserved keys and for filters of what has no state dict */
export function collect(
  state: CheckpointState,
  own: Readonly<Record<string, Stateful>>,
  filter: SaveFilter = {},
): CheckpointContent {
  const statefuls: Record<string, StateDict> = {};
  const values: JsonObject = {};
  for (const [key, value] of Object.entries(state)) {
    if (key.startsWith(ownPrefix))
      throw new TensorloomError(
        'MISUSE',
        `save: keys that begin with '${ownPrefix}' are Fabric's own; rename '${key}'.`,
      );
    if (isStateful(value)) statefuls[key] = filtered(value.stateDict(), filter[key]);
    else if (value !== undefined) values[key] = value as Json;
  }
  for (const key of Object.keys(filter))
    if (!(key in statefuls))
      throw new TensorloomError(
        'MISUSE',
        `save: there is a filter for '${key}', but the state has no module, optimizer or other Stateful of that name (it has: ${Object.keys(statefuls).join(', ')}).`,
      );
  for (const [key, piece] of Object.entries(own)) statefuls[`${ownPrefix}${key}`] = piece.stateDict();
  return { statefuls, values };
}

function filtered(state: StateDict, keep: SaveFilter[string] | undefined): StateDict {
  if (keep === undefined) return state;
  const pass = <T extends Tensor | Json>(entries: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(entries).filter(([name, value]) => keep(name, value)));
  return { ...state, tensors: pass(state.tensors), values: pass(state.values) };
}

export interface RestoreOptions {
  readonly strict: boolean;
  /** Restore Fabric's own pieces too. */
  readonly own: boolean;
}

/**
 * Restores in place: Statefuls load, JSON values replace those in `state`. Modules come first: they check every name
 * and shape before they change anything. Returns what the checkpoint holds beyond `state`.
 * @throws TensorloomError `BAD_CHECKPOINT` naming every key that is missing (when strict) or of another kind
 */
export function restore(
  checkpoint: OpenedCheckpoint,
  state: CheckpointState,
  own: Readonly<Record<string, Stateful>>,
  options: RestoreOptions,
): Record<string, Json | StoredState> {
  checkKeys(checkpoint, state, own, options);
  const pieces = Object.entries(state).filter((entry): entry is [string, Stateful] => isStateful(entry[1]));
  pieces.sort(([, a], [, b]) => loadOrder(a) - loadOrder(b));
  for (const [key, piece] of pieces) {
    const stored = checkpoint.statefuls.get(key);
    if (stored !== undefined) inContext(key, () => piece.loadStateDict(stored, { strict: options.strict }));
  }
  for (const key of Object.keys(state)) if (Object.hasOwn(checkpoint.values, key)) state[key] = checkpoint.values[key];
  if (options.own)
    for (const [key, piece] of Object.entries(own)) {
      const stored = checkpoint.statefuls.get(`${ownPrefix}${key}`);
      if (stored !== undefined) inContext(`${ownPrefix}${key}`, () => piece.loadStateDict(stored));
    }
  return Object.fromEntries(Object.entries(everything(checkpoint)).filter(([key]) => !Object.hasOwn(state, key)));
}

/** All of the user's keys. Tensors of a StoredState are read when asked for. */
export function everything(checkpoint: OpenedCheckpoint): Record<string, Json | StoredState> {
  const statefuls = [...checkpoint.statefuls].filter(([key]) => !key.startsWith(ownPrefix));
  return { ...checkpoint.values, ...Object.fromEntries(statefuls) };
}

function checkKeys(
  checkpoint: OpenedCheckpoint,
  state: CheckpointState,
  own: Readonly<Record<string, Stateful>>,
  options: RestoreOptions,
): void {
  const problems: string[] = [];
  for (const [key, value] of Object.entries(state)) {
    const isPiece = checkpoint.statefuls.has(key);
    const isValue = Object.hasOwn(checkpoint.values, key);
    if (!isPiece && !isValue && options.strict) problems.push(`missing: ${key}`);
    if (isPiece && !isStateful(value))
      problems.push(`'${key}' is stored as tensors and state; give the module, optimizer or loader to restore it into`);
    if (isValue && isStateful(value))
      problems.push(`'${key}' is stored as a plain value, but a ${value.constructor.name} was given`);
  }
  if (options.own && options.strict)
    for (const key of Object.keys(own))
      if (!checkpoint.statefuls.has(`${ownPrefix}${key}`)) problems.push(`missing: ${ownPrefix}${key}`);
  if (problems.length > 0)
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `The checkpoint does not fit:\n  ${problems.join('\n  ')}\nIt holds: ${Object.keys(everything(checkpoint)).join(', ') || '(nothing)'}.`,
    );
}

function loadOrder(piece: Stateful): number {
  return piece instanceof Module ? 0 : piece instanceof Optimizer ? 1 : 2;
}

function inContext(key: string, load: () => void): void {
  try {
    load();
  } catch (error) {
    if (!(error instanceof TensorloomError)) throw error;
    throw new TensorloomError(error.code, `Loading '${key}': ${error.message}`, { cause: error });
  }
}

/** What each rank writes of a checkpoint, and how the ranks' pieces become one. */
import { join } from 'node:path';
import { TensorloomError } from '../errors.ts';
import type { JsonObject, StateDict } from '../stateful.ts';
import type { Tensor } from '../tensors.ts';
import { writeSynced } from './atomic-write.ts';
import { encodeJson } from './json-values.ts';
import { streamSafetensors } from './safetensors.ts';
import { plainName, type CheckpointState, type FileRecord, type StatefulRecord } from './state-file.ts';

/** Who writes. */
export interface Writer {
  readonly rank: number;
  readonly worldSize: number;
}

/** What one rank has of one stateful, ready to be written: tensors for the file of all, and for its own. */
export interface Piece {
  readonly scope: 'shared' | 'rank';
  readonly values: JsonObject;
  readonly shards: readonly string[];
  readonly shared: Readonly<Record<string, Tensor>>;
  readonly own: Readonly<Record<string, Tensor>>;
}

/** An account of a piece that was written: JSON, for rank zero to put together. */
export interface WrittenPiece {
  readonly scope: 'shared' | 'rank';
  readonly values: JsonObject;
  readonly files: Readonly<Record<string, FileRecord>>;
  readonly file: string | null;
  readonly ownFile: string | null;
  /** dtype and shape by name. */
  readonly shards: Readonly<Record<string, TensorForm>>;
  readonly shared: Readonly<Record<string, TensorForm>>;
}
interface TensorForm {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/**
 * Sorts what is this rank's from what is everyone's. Of a world of one rank nothing is a shard.
 * @throws TensorloomError `MISUSE` for values that JSON cannot hold, for keys that are no file names, and for shards of scalars
 */
export function prepare(key: string, state: StateDict, { worldSize }: Writer): Piece {
  if (!plainName.test(key))
    throw new TensorloomError(
      'MISUSE',
      `'${key}' cannot name a file of a checkpoint: use letters, digits, '.', '_' and '-'.`,
    );
  const scope = state.scope ?? 'shared';
  const names = Object.keys(state.tensors);
  const shards = worldSize === 1 ? [] : names.filter((name) => state.shards?.has(name) === true);
  for (const name of shards)
    if (state.tensors[name]?.shape.length === 0)
      throw new TensorloomError('MISUSE', `'${name}' of '${key}' is a scalar, which has no rows to be shared out.`);
  const isOwn = (name: string): boolean => scope === 'rank' || shards.includes(name);
  const pick = (which: (name: string) => boolean): Record<string, Tensor> =>
    Object.fromEntries(Object.entries(state.tensors).filter(([name]) => which(name)));
  return {
    scope,
    values: encodeJson(state.values, key) as JsonObject,
    shards,
    own: pick(isOwn),
    shared: pick((name) => !isOwn(name)),
  };
}

/** Writes this rank's files into `folder`: its own tensors, and as rank zero the shared ones too. */
export async function writePiece(folder: string, key: string, piece: Piece, writer: Writer): Promise<WrittenPiece> {
  const files: Record<string, FileRecord> = {};
  const write = async (name: string, tensors: Readonly<Record<string, Tensor>>): Promise<string | null> => {
    if (Object.keys(tensors).length === 0) return null;
    files[name] = await writeSynced(join(folder, name), (sink) => streamSafetensors(sink, tensors));
    return name;
  };
  const file = writer.rank === 0 ? await write(`${key}.safetensors`, piece.shared) : null;
  const ownFile = await write(ownFileName(key, writer), piece.own);
  const shards = Object.fromEntries(piece.shards.map((name) => [name, formOf(piece.own[name] as Tensor)]));
  const shared = Object.fromEntries(Object.entries(piece.shared).map(([name, tensor]) => [name, formOf(tensor)]));
  // Values that are shared are rank zero's: the others' need not travel.
  const values = piece.scope === 'rank' || writer.rank === 0 ? piece.values : {};
  return { scope: piece.scope, values, files, file, ownFile, shards, shared };
}

/** `optimizer.rank-0001-of-0004.safetensors`; ranks count from 0. */
function ownFileName(key: string, { rank, worldSize }: Writer): string {
  const digits = (n: number): string => String(n).padStart(4, '0');
  return worldSize === 1 ? `${key}.safetensors` : `${key}.rank-${digits(rank)}-of-${digits(worldSize)}.safetensors`;
}

function formOf({ dtype, shape }: Tensor): TensorForm {
  return { dtype, shape: [...shape] };
}

/**
 * The ranks' accounts as one.
 * @throws TensorloomError `MISUSE` naming the ranks whose pieces do not belong together
 */
export function merge(
  byRank: readonly Readonly<Record<string, WrittenPiece>>[],
): Pick<CheckpointState, 'files' | 'statefuls'> {
  const [first, ...others] = byRank as [(typeof byRank)[number], ...(typeof byRank)[number][]];
  const files: Record<string, FileRecord> = {};
  const statefuls: Record<string, StatefulRecord> = {};
  others.forEach((pieces, index) => same('the list of keys', Object.keys(first), Object.keys(pieces), index + 1));
  for (const key of Object.keys(first)) {
    const pieces = byRank.map((rank) => rank[key] as WrittenPiece);
    statefuls[key] = mergePieces(key, pieces);
    for (const piece of pieces)
      for (const [name, record] of Object.entries(piece.files)) {
        if (Object.hasOwn(files, name))
          throw new TensorloomError('MISUSE', `Two keys of the checkpoint need the file ${name}; rename '${key}'.`);
        files[name] = record;
      }
  }
  return { files, statefuls };
}

function mergePieces(key: string, pieces: readonly WrittenPiece[]): StatefulRecord {
  const first = pieces[0] as WrittenPiece;
  const shards = new Map<string, { readonly rank: number; readonly form: TensorForm }>();
  pieces.forEach((piece, rank) => {
    same(`the scope of '${key}'`, first.scope, piece.scope, rank);
    // A rank may leave to rank zero what is stored but once; what rank zero has not would be lost.
    for (const [name, form] of Object.entries(piece.shared))
      same(`'${name}' of '${key}', no shard,`, formIn(first, name), form, rank);
    for (const [name, form] of Object.entries(piece.shards)) {
      if (formIn(first, name) !== null) same(`'${name}' of '${key}'`, 'a whole', 'a shard', rank);
      const known = shards.get(name);
      const { dtype, shape } = known?.form ?? form;
      same(
        `'${name}' of '${key}', but for its rows,`,
        [dtype, shape.slice(1)],
        [form.dtype, form.shape.slice(1)],
        rank,
        known?.rank,
      );
      if (known === undefined) shards.set(name, { rank, form });
    }
  });
  const isPerRank = first.scope === 'rank' || shards.size > 0;
  return {
    scope: first.scope,
    file: first.file,
    values: first.scope === 'rank' ? {} : first.values,
    shards: [...shards.keys()],
    ranks: isPerRank
      ? pieces.map(({ ownFile, values, scope }) => ({ file: ownFile, values: scope === 'rank' ? values : {} }))
      : [],
  };
}

function formIn(piece: WrittenPiece, name: string): TensorForm | null {
  return Object.hasOwn(piece.shared, name) ? (piece.shared[name] as TensorForm) : null;
}

function same(what: string, one: unknown, other: unknown, rank: number, oneRank = 0): void {
  const [a, b] = [ordered(one), ordered(other)];
  if (a !== b)
    throw new TensorloomError(
      'MISUSE',
      `A checkpoint of several ranks needs pieces that belong together, but ${what} is ${shortened(a)} on rank ${oneRank} and ${shortened(b)} on rank ${rank}.`,
    );
}

function ordered(value: unknown): string {
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return [...value].sort().join(', ');
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return JSON.stringify(value);
  return JSON.stringify(Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))));
}

function shortened(text: string): string {
  return text.length <= 300 ? text : `${text.slice(0, 300)}…`;
}

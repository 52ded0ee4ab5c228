/** From the files of a checkpoint folder to stored states: shards joined, each rank's own apart. */
import { join } from 'node:path';
import { TensorloomError } from '../errors.ts';
import type { HostTensor } from '../host-tensor.ts';
import type { StoredState, StoredTensor } from '../stateful.ts';
import { joinRows } from '../stored-tensor.ts';
import { decodeJsonObject } from './json-values.ts';
import { openSafetensors } from './safetensors.ts';
import type { StatefulRecord } from './state-file.ts';

type LazyTensor = StoredTensor & { readonly dtype: 'float32' | 'int32' };
type LazyTensors = ReadonlyMap<string, LazyTensor>;

/**
 * @param rank whose own state is on top: in a world of the size that wrote the checkpoint the reader's, else 0
 * @throws TensorloomError `BAD_CHECKPOINT` if the ranks' pieces do not fit together
 */
export function storedState(folder: string, key: string, record: StatefulRecord, rank: number): StoredState {
  const open = (file: string | null): LazyTensors => (file === null ? new Map() : lazyTensors(join(folder, file)));
  const shared = open(record.file);
  const pieces = record.ranks.map(({ file }) => open(file));
  const bad = (what: string) => new TensorloomError('BAD_CHECKPOINT', `${folder}: of '${key}', ${what}.`);
  const joined = new Map<string, StoredTensor>(shared);
  for (const name of record.shards) {
    if (shared.has(name)) throw bad(`'${name}' is stored as a whole and in shards`);
    joined.set(name, joinShards(name, pieces, bad));
  }
  if (record.scope === 'shared') {
    for (const piece of pieces)
      for (const name of piece.keys())
        if (!record.shards.includes(name)) throw bad(`'${name}' is in a rank's file, but is no shard`);
    return { tensors: joined, values: decodeJsonObject(record.values) };
  }
  const byRank = record.ranks.map(({ values }, of): StoredState => {
    const own = [...(pieces[of] as LazyTensors)].filter(([name]) => !record.shards.includes(name));
    return { tensors: new Map([...joined, ...own]), values: decodeJsonObject(values) };
  });
  return { ...(byRank[rank] as StoredState), byRank };
}

/** A rank without the tensor has no rows of it. */
function joinShards(
  name: string,
  pieces: readonly LazyTensors[],
  bad: (what: string) => TensorloomError,
): StoredTensor {
  const found = pieces.flatMap((piece, rank) => {
    const tensor = piece.get(name);
    return tensor === undefined ? [] : [{ rank, tensor }];
  });
  const [first, ...others] = found;
  if (first === undefined) throw bad(`no rank stored '${name}'`);
  const form = ({ dtype, shape }: LazyTensor): string => `${dtype} [rows, ${shape.slice(1).join(', ')}]`;
  for (const { rank, tensor } of found)
    if (tensor.shape.length === 0 || form(tensor) !== form(first.tensor))
      throw bad(
        `the shards of '${name}' do not fit together: rank ${first.rank} stored ${form(first.tensor)}, rank ${rank} ${form(tensor)}`,
      );
  return joinRows([first.tensor, ...others.map(({ tensor }) => tensor)], first.tensor.dtype);
}

/** Shapes are known at once; each read opens the file for itself, so that nothing has to be closed later. */
function lazyTensors(path: string): LazyTensors {
  const header = openSafetensors(path);
  const entries = [...header.tensors].map(([name, { shape, dtype }]) => [name, shape, dtype] as const);
  header.close();
  const reading = (name: string, read: (tensor: StoredTensor) => HostTensor): HostTensor => {
    const file = openSafetensors(path);
    try {
      return read(file.tensors.get(name) as StoredTensor);
    } finally {
      file.close();
    }
  };
  return new Map(
    entries.map(([name, shape, dtype]) => [
      name,
      {
        shape,
        dtype: dtype === 'F32' ? 'float32' : 'int32',
        read: () => reading(name, (tensor) => tensor.read()),
        readRows: (from, to) => reading(name, (tensor) => tensor.readRows(from, to)),
      },
    ]),
  );
}

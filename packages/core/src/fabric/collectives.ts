/** Collectives over tensors and nested collections of them: host copies travel, results come back as tensors. */
import type { CollectiveArray, ProcessGroup, ReduceOp } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import { isTensor, tf, type Tensor } from '../tensors.ts';

/** A number or tensor, or arrays and plain objects of such. */
export type Reducible = number | Tensor | readonly Reducible[] | { readonly [key: string]: Reducible };

/** What `allGather` makes of each leaf: a number becomes a list by rank, a tensor [...] one of shape [worldSize, ...]. */
export type Gathered<T> = T extends number
  ? number[]
  : T extends Tensor
    ? Tensor
    : T extends readonly (infer U)[]
      ? Gathered<U>[]
      : { [K in keyof T]: Gathered<T[K]> };

/** Same shape as `value`, reduced over all ranks; new tensors, the caller's to dispose. */
export async function allReduce<T extends Reducible>(group: ProcessGroup, value: T, op: ReduceOp): Promise<T> {
  const reduced = await mapLeaves(value, async (leaf) => {
    if (typeof leaf === 'number') {
      const data = Float64Array.of(leaf);
      await group.allReduce(data, op);
      return data[0];
    }
    const data = await hostCopy(leaf);
    await group.allReduce(data, op);
    return tf.tensor(data, leaf.shape, leaf.dtype);
  });
  return reduced as T;
}

/** See `Gathered`. Tensors must have the same shape on every rank. */
export async function allGather<T extends Reducible>(group: ProcessGroup, value: T): Promise<Gathered<T>> {
  const gathered = await mapLeaves(value, async (leaf) => {
    if (typeof leaf === 'number') {
      const numbers = new Float64Array(group.worldSize);
      await group.allGather(Float64Array.of(leaf), numbers);
      return [...numbers];
    }
    const own = await hostCopy(leaf);
    const all = emptyArray(leaf.dtype, own.length * group.worldSize);
    await group.allGather(own, all);
    return tf.tensor(all, [group.worldSize, ...leaf.shape], leaf.dtype);
  });
  return gathered as Gathered<T>;
}

/**
 * `value` of rank `source`, on every rank: numbers, texts, booleans, null, undefined, tensors, typed arrays, and arrays and plain
 * objects of them. Tensors in it arrive as new tensors, on the source and on one rank alone too.
 * @throws TensorloomError `MISUSE` on the source, naming where in its value is what else
 */
export async function broadcast<T>(group: ProcessGroup, value: T, source: number): Promise<T> {
  if (!Number.isInteger(source) || source < 0 || source >= group.worldSize)
    throw new TensorloomError(
      'BAD_OPTION',
      `broadcast: there is no rank ${source}; ranks are 0 to ${group.worldSize - 1}.`,
    );
  const tensors: Tensor[] = [];
  const skeleton = await group.broadcastObject(
    group.rank === source ? dismantle(value, tensors, 'the value') : null,
    source,
  );
  return (await assemble(group, skeleton, tensors, source)) as T;
}

/** In a skeleton, an object with this key stands for a tensor, or, as `escaped`, for an object of the user's that has the key itself. */
const MARK = '$tensor';

interface Placeholder {
  readonly [MARK]: number;
  readonly shape: number[];
  readonly dtype: string;
}

interface Escaped {
  readonly [MARK]: 'escaped';
  readonly object: Record<string, unknown>;
}

/** @param place of `value` in the whole, for messages */
function dismantle(value: unknown, tensors: Tensor[], place: string): unknown {
  if (isTensor(value))
    return { [MARK]: tensors.push(value) - 1, shape: value.shape, dtype: value.dtype } satisfies Placeholder;
  if (Array.isArray(value)) return value.map((entry, index) => dismantle(entry, tensors, `${place}[${index}]`));
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return value;
  if (isPlainObject(value)) {
    const entries = Object.entries(value).map(([key, entry]) => [key, dismantle(entry, tensors, `${place}.${key}`)]);
    const object = Object.fromEntries(entries) as Record<string, unknown>;
    return Object.hasOwn(object, MARK) ? ({ [MARK]: 'escaped', object } satisfies Escaped) : object;
  }
  if (value === null || ['number', 'string', 'boolean', 'undefined'].includes(typeof value)) return value;
  throw new TensorloomError(
    'MISUSE',
    `broadcast: ${place} is ${kindOf(value)}, which does not travel between ranks. Send numbers, texts, booleans, tensors, ` +
      'typed arrays, and arrays or plain objects of them.',
  );
}

async function assemble(
  group: ProcessGroup,
  skeleton: unknown,
  tensors: readonly Tensor[],
  source: number,
): Promise<unknown> {
  if (Array.isArray(skeleton)) return inOrder(skeleton, (entry) => assemble(group, entry, tensors, source));
  if (skeleton === null || typeof skeleton !== 'object' || ArrayBuffer.isView(skeleton)) return skeleton;
  if (!Object.hasOwn(skeleton, MARK)) return assembleObject(group, skeleton, tensors, source);
  const marked = skeleton as Placeholder | Escaped;
  if (marked[MARK] === 'escaped') return assembleObject(group, marked.object, tensors, source);
  const { [MARK]: index, shape, dtype } = marked;
  const size = shape.reduce((product, n) => product * n, 1);
  const own = tensors[index];
  const data = own === undefined ? emptyArray(dtype, size) : await hostCopy(own);
  await group.broadcast(data, source);
  return tf.tensor(data, shape, dtype as 'float32');
}

async function assembleObject(
  group: ProcessGroup,
  object: object,
  tensors: readonly Tensor[],
  source: number,
): Promise<unknown> {
  const entries = Object.entries(object);
  const values = await inOrder(entries, ([, entry]) => assemble(group, entry, tensors, source));
  return Object.fromEntries(entries.map(([key], index) => [key, values[index]]));
}

function isPlainObject(value: unknown): value is object {
  if (value === null || typeof value !== 'object') return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** `a Map`, `a function`: for messages. */
function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value !== 'object') return `a ${typeof value}`;
  const { constructor } = value as { readonly constructor?: { readonly name?: string } };
  return `an object of class ${constructor?.name || '(no name)'}`;
}

function emptyArray(dtype: string, size: number): CollectiveArray {
  return dtype === 'float32' ? new Float32Array(size) : dtype === 'int32' ? new Int32Array(size) : new Uint8Array(size);
}

/** A copy: `data()` may hand out the backend's own memory, and collectives work in place. */
async function hostCopy(tensor: Tensor): Promise<CollectiveArray> {
  const data: unknown = await tensor.data();
  if (data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array) return data.slice();
  throw new TensorloomError(
    'UNSUPPORTED',
    `Tensors of dtype ${tensor.dtype} cannot travel between ranks; use float32, int32 or bool.`,
  );
}

/** One leaf after the other: all ranks must make their calls in the same order. */
async function mapLeaves(value: Reducible, map: (leaf: number | Tensor) => Promise<unknown>): Promise<unknown> {
  if (typeof value === 'number' || isTensor(value)) return map(value);
  if (Array.isArray(value)) return inOrder(value as readonly Reducible[], (entry) => mapLeaves(entry, map));
  if (isPlainObject(value)) {
    const entries = Object.entries(value as Record<string, Reducible>);
    const mapped = await inOrder(entries, ([, entry]) => mapLeaves(entry, map));
    return Object.fromEntries(entries.map(([key], index) => [key, mapped[index]]));
  }
  throw new TensorloomError(
    'MISUSE',
    `Collectives take numbers, tensors, and arrays or plain objects of them; got ${kindOf(value)}.`,
  );
}

async function inOrder<T>(entries: readonly T[], map: (entry: T) => Promise<unknown>): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const entry of entries) results.push(await map(entry));
  return results;
}

/** Values of JSON's kind, and typed arrays, as bytes (MessagePack). */
import { TensorloomError } from '@tensorloom/core/distributed';
import { Packr } from 'msgpackr';

// No records and no extension that makes objects of classes: what comes from another process is data and nothing else.
const packr = new Packr({ useRecords: false, moreTypes: false, mapsAsObjects: true });

const arrayClasses = {
  Float32Array,
  Float64Array,
  Int8Array,
  Int16Array,
  Int32Array,
  Uint16Array,
  Uint32Array,
} as const;
/** Marks a typed array in a message: MessagePack itself has bytes only. */
const MARK = '$array';

/** @throws TensorloomError `BAD_OPTION` for what MessagePack cannot hold */
export function packObject(value: unknown): Uint8Array {
  try {
    // A copy of its own: the packer reuses its buffer.
    return Uint8Array.from(packr.pack(withoutArrays(value)));
  } catch (error) {
    throw new TensorloomError('BAD_OPTION', `A value cannot travel between ranks: ${String(error)}. Send plain data.`, {
      cause: error,
    });
  }
}

/** @throws TensorloomError `BAD_DATA` for bytes that are no message */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller knows what was sent
export function unpackObject<T>(bytes: Uint8Array): T {
  try {
    return withArrays(packr.unpack(bytes)) as T;
  } catch (error) {
    throw new TensorloomError('BAD_DATA', `A message from another rank cannot be read: ${String(error)}.`, {
      cause: error,
    });
  }
}

/** A copy in which typed arrays are objects of their class's name and their bytes. */
function withoutArrays(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(withoutArrays);
  if (ArrayBuffer.isView(value)) {
    const { name } = value.constructor;
    if (!Object.hasOwn(arrayClasses, name)) throw new TypeError(`a ${name} is no array that messages can hold`);
    return { [MARK]: name, bytes: Uint8Array.from(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)) };
  }
  if (Object.getPrototypeOf(value) !== Object.prototype && Object.getPrototypeOf(value) !== null)
    throw new TypeError(`it holds an object of class ${value.constructor.name}`);
  const plain = Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, withoutArrays(entry)]));
  // An object of the caller's that has the mark is wrapped, so that it is not taken for an array.
  return MARK in plain ? { [MARK]: '', value: plain } : plain;
}

function withArrays(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withArrays);
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  const { [MARK]: name, bytes, value: wrapped } = value as Record<string, unknown>;
  if (name === '' && wrapped !== null && typeof wrapped === 'object') return entriesOf(wrapped);
  if (typeof name === 'string' && Object.hasOwn(arrayClasses, name) && bytes instanceof Uint8Array) {
    const arrayClass = arrayClasses[name as keyof typeof arrayClasses];
    // A copy: what was received need not be aligned.
    return new arrayClass(Uint8Array.from(bytes).buffer);
  }
  return entriesOf(value);
}

function entriesOf(value: object): object {
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, withArrays(entry)]));
}

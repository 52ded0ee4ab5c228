/** The safetensors file format (https://huggingface.co/docs/safetensors): reading with full validation, atomic writing. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { TensorloomError } from '../errors.ts';
import { HostTensor, type HostDType } from '../host-tensor.ts';
import type { StoredTensor } from '../stateful.ts';
import { checkRows } from '../stored-tensor.ts';
import type { Tensor } from '../tensors.ts';
import { writeFileAtomically, type ByteSink } from './atomic-write.ts';
import { bfloat16ToNumber, float16ToNumber } from './half.ts';
import { dtypeBytes, makeHeader, maxHeaderBytes, parseHeader, type TensorEntry } from './safetensors-header.ts';

/** An open file: tensors by name, read when asked for. Close it when done. */
export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, StoredTensor & { readonly dtype: string }>;
  readonly metadata: Readonly<Record<string, string>>;
  close(): void;
}

/** A tensor whose elements are read only when it is their turn to be written. */
export interface LazyTensor {
  readonly dtype: HostDType;
  readonly shape: readonly number[];
  read(): HostTensor;
}

/** What can be written: on the device, in memory, or to be read. */
export type WritableTensor = Tensor | HostTensor | LazyTensor;

/** One read call carries at most this much: Node takes no more than 2 GiB at once, and converted types pass through a buffer. */
const maxReadBytes = 16 * 1024 * 1024;

/**
 * Opens a file; headers are validated in full (size bounds, offsets in range, no overlap, no gap, shapes fit), tensors are read on demand.
 * F32, I32, F16, BF16, F64, I64 (range-checked), U8, BOOL and the other integers convert to float32 / int32.
 * @throws TensorloomError `BAD_FILE`; `IO` if it cannot be opened
 */
export function openSafetensors(path: string): SafetensorsFile {
  const descriptor = openForReading(path);
  try {
    const fileBytes = fstatSync(descriptor).size;
    const headerBytes = headerLength(descriptor, fileBytes, path);
    const header = new Uint8Array(headerBytes);
    readFully(descriptor, header, 8, path);
    const dataStart = 8 + headerBytes;
    const { tensors, metadata } = parseHeader(header, fileBytes - dataStart, path);
    let open = true;
    const stored = [...tensors].map(([name, entry]) => {
      const readPart = (part: TensorEntry): HostTensor => {
        if (!open) throw new TensorloomError('MISUSE', `${path} was closed before '${name}' was read.`);
        return readTensor(descriptor, dataStart, name, part, path);
      };
      const read = (): HostTensor => readPart(entry);
      const readRows = (from: number, to: number): HostTensor => readPart(rowsOf(entry, from, to));
      return [name, { shape: entry.shape, dtype: entry.dtype, read, readRows }] as const;
    });
    const close = (): void => {
      if (open) closeSync(descriptor);
      open = false;
    };
    return { tensors: new Map(stored), metadata, close };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/**
 * Writes tensors one at a time to a temporary file, fsyncs and renames it. Order and alignment are the reference
 * implementation's: wider dtypes first, then by name; the header padded to a multiple of 8 bytes.
 * @throws TensorloomError `IO`, `BAD_OPTION` for a reserved name or a dtype that the format lacks
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, WritableTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeFileAtomically(path, (sink) => streamSafetensors(sink, tensors, metadata));
}

/** The bytes of a safetensors file, one tensor after the other. */
export async function streamSafetensors(
  sink: ByteSink,
  tensors: Readonly<Record<string, WritableTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const ordered = Object.entries(tensors).sort(
    ([nameA, a], [nameB, b]) =>
      rank(nameA, a) - rank(nameB, b) || Buffer.compare(Buffer.from(nameA), Buffer.from(nameB)),
  );
  let position = 0;
  const entries = ordered.map(([name, tensor]): [string, TensorEntry] => {
    const dtype = storedDtype(name, tensor);
    const begin = position;
    position += tensor.shape.reduce((product, n) => product * n, dtypeBytes[dtype]!);
    return [name, { dtype, shape: tensor.shape, begin, end: position }];
  });
  await sink(makeHeader(entries, metadata));
  for (const [name, tensor] of ordered) {
    const data = await dataOf(name, tensor);
    await sink(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}

async function dataOf(name: string, tensor: WritableTensor): Promise<ArrayBufferView> {
  if (tensor instanceof HostTensor) return tensor.data;
  if (!('read' in tensor)) return tensor.data();
  const { data, dtype, shape } = tensor.read();
  // The header is written by then: anything else would be a broken file.
  if (dtype !== tensor.dtype || data.length !== tensor.shape.reduce((product, n) => product * n, 1))
    throw new TensorloomError(
      'MISUSE',
      `Tensor '${name}' was announced as ${tensor.dtype} of shape [${tensor.shape.join(', ')}], but read as ${dtype} of shape [${shape.join(', ')}].`,
    );
  return data;
}

const storedDtypes: Readonly<Record<string, string>> = { float32: 'F32', int32: 'I32', bool: 'BOOL' };
/** The reference implementation's order: F32 before I32 before BOOL. */
const dtypeOrder = ['F32', 'I32', 'BOOL'];

function storedDtype(name: string, tensor: WritableTensor): string {
  const dtype = storedDtypes[tensor.dtype];
  if (dtype === undefined)
    throw new TensorloomError(
      'BAD_OPTION',
      `Tensor '${name}' is ${tensor.dtype}; safetensors files hold float32, int32 and bool.`,
    );
  if (name === '__metadata__')
    throw new TensorloomError('BAD_OPTION', `'__metadata__' is reserved in safetensors files; rename the tensor.`);
  return dtype;
}

function rank(name: string, tensor: WritableTensor): number {
  return dtypeOrder.indexOf(storedDtype(name, tensor));
}

function openForReading(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new TensorloomError('IO', code === 'ENOENT' ? `${path} does not exist.` : `Cannot open ${path}: ${message}`, {
      cause: error,
    });
  }
}

function headerLength(descriptor: number, fileBytes: number, path: string): number {
  const bad = (what: string) => new TensorloomError('BAD_FILE', `${path} is not a valid safetensors file: ${what}.`);
  if (fileBytes < 8) throw bad(`it has ${fileBytes} bytes, fewer than the 8 of a header's length`);
  const prefix = new Uint8Array(8);
  readFully(descriptor, prefix, 0, path);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes))
    throw bad(`its header claims ${length} bytes, more than the ${maxHeaderBytes} allowed`);
  if (Number(length) > fileBytes - 8)
    throw bad(
      `its header claims ${length} bytes, but only ${fileBytes - 8} follow: it is truncated or its header lies`,
    );
  if (length === 0n) throw bad('its header is empty');
  return Number(length);
}

function readFully(descriptor: number, target: Uint8Array, position: number, path: string): void {
  let done = 0;
  while (done < target.byteLength) {
    const count = readSync(descriptor, target, done, Math.min(target.byteLength - done, maxReadBytes), position + done);
    if (count === 0) throw new TensorloomError('BAD_FILE', `${path} became shorter while it was read.`);
    done += count;
  }
}

/** Where rows `from` to `to` of a tensor lie. */
function rowsOf({ dtype, shape, begin }: TensorEntry, from: number, to: number): TensorEntry {
  const rowBytes = checkRows(shape, from, to) * dtypeBytes[dtype]!;
  return { dtype, shape: [to - from, ...shape.slice(1)], begin: begin + from * rowBytes, end: begin + to * rowBytes };
}

function readTensor(descriptor: number, dataStart: number, name: string, entry: TensorEntry, path: string): HostTensor {
  const { dtype, shape, begin, end } = entry;
  const width = dtypeBytes[dtype]!;
  const count = (end - begin) / width;
  const isFloat = dtype.startsWith('F') || dtype === 'BF16';
  const target = isFloat ? new Float32Array(count) : new Int32Array(count);
  const direct = dtype === 'F32' || dtype === 'I32';
  const convert = direct ? undefined : converter(dtype, name, path);
  const staging = direct ? undefined : new Uint8Array(Math.min(maxReadBytes, end - begin));
  const perChunk = maxReadBytes / width;
  for (let first = 0; first < count; first += perChunk) {
    const length = Math.min(perChunk, count - first);
    const bytes = staging?.subarray(0, length * width) ?? new Uint8Array(target.buffer, first * width, length * width);
    readFully(descriptor, bytes, dataStart + begin + first * width, path);
    convert?.(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), target.subarray(first, first + length));
  }
  return new HostTensor(target, shape);
}

type Converter = (from: DataView, to: Float32Array | Int32Array) => void;

/** Little-endian elements of `dtype` into float32 or int32. */
function converter(dtype: string, name: string, path: string): Converter {
  const each =
    (width: number, get: (from: DataView, offset: number) => number): Converter =>
    (from, to) => {
      for (let i = 0; i < to.length; i++) to[i] = get(from, i * width);
    };
  const inRange = (value: number | bigint): number => {
    if (value > 0x7fffffff || value < -0x80000000)
      throw new TensorloomError('BAD_FILE', `${path}: '${name}' holds ${value}, which does not fit into int32.`);
    return Number(value);
  };
  const converters: Readonly<Record<string, Converter>> = {
    F16: each(2, (from, offset) => float16ToNumber(from.getUint16(offset, true))),
    BF16: each(2, (from, offset) => bfloat16ToNumber(from.getUint16(offset, true))),
    F64: each(8, (from, offset) => from.getFloat64(offset, true)),
    BOOL: each(1, (from, offset) => from.getUint8(offset)),
    U8: each(1, (from, offset) => from.getUint8(offset)),
    I8: each(1, (from, offset) => from.getInt8(offset)),
    U16: each(2, (from, offset) => from.getUint16(offset, true)),
    I16: each(2, (from, offset) => from.getInt16(offset, true)),
    U32: each(4, (from, offset) => inRange(from.getUint32(offset, true))),
    I64: each(8, (from, offset) => inRange(from.getBigInt64(offset, true))),
    U64: each(8, (from, offset) => inRange(from.getBigUint64(offset, true))),
  };
  const found = converters[dtype];
  if (found === undefined)
    throw new TensorloomError(
      'UNSUPPORTED',
      `${path}: '${name}' has dtype ${dtype}, which cannot be read; save it as F32, F16 or BF16.`,
    );
  return found;
}

/** The JSON header of a safetensors file: parsed with every check, and made. */
import { TensorloomError } from '../errors.ts';

/** Bytes of one element of each dtype of the format. */
export const dtypeBytes: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
};

export interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Offsets within the data section. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The reference implementation's bound. */
export const maxHeaderBytes = 100_000_000;

/**
 * @param bytes the header without its length prefix
 * @param dataBytes size of the data section, from the file's size
 * @param path for messages
 * @throws TensorloomError `BAD_FILE`
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
  const fail = (what: string): never => {
    throw new TensorloomError('BAD_FILE', `${path} is not a valid safetensors file: ${what}.`);
  };
  if (bytes[0] !== 0x7b) fail("its header does not start with '{'");
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return fail('its header is not UTF-8');
  }
  try {
    json = JSON.parse(text);
  } catch (error) {
    return fail(`its header is not JSON (${(error as Error).message})`);
  }
  // JSON.parse keeps the last of two equal keys: fewer keys than were written means that one came twice.
  if (countKeys(json) !== countWrittenKeys(text)) fail('its header gives a name twice');

  const tensors = new Map<string, TensorEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json as Record<string, unknown>)) {
    if (name === '__metadata__') metadata = checkMetadata(value, fail);
    else tensors.set(name, checkEntry(name, value, dataBytes, fail));
  }
  checkLayout(tensors, dataBytes, fail);
  return { tensors, metadata };
}

type Fail = (what: string) => never;

function checkMetadata(value: unknown, fail: Fail): Record<string, string> {
  if (!isRecord(value) || !Object.values(value).every((entry) => typeof entry === 'string'))
    fail('__metadata__ is not a map of strings');
  return Object.fromEntries(Object.entries(value as Record<string, string>));
}

function checkEntry(name: string, value: unknown, dataBytes: number, fail: Fail): TensorEntry {
  if (!isRecord(value)) return fail(`the entry of '${name}' is not an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  for (const key of Object.keys(value))
    if (!['dtype', 'shape', 'data_offsets'].includes(key)) fail(`the entry of '${name}' has an unknown field '${key}'`);
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypeBytes, dtype))
    return fail(`'${name}' has dtype ${JSON.stringify(dtype)}; known are ${Object.keys(dtypeBytes).join(', ')}`);
  if (!Array.isArray(shape) || !shape.every(isSize)) return fail(`the shape of '${name}' is not a list of sizes`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    return fail(`the data_offsets of '${name}' are not two offsets`);
  const [begin, end] = offsets as [number, number];
  if (begin > end) fail(`the data_offsets of '${name}' end before they begin ([${begin}, ${end}])`);
  if (end > dataBytes) fail(`'${name}' ends at byte ${end} of ${dataBytes}: the file is truncated or its header lies`);
  const needed = (shape as number[]).reduce((product, n) => product * n, dtypeBytes[dtype] as number);
  if (needed !== end - begin)
    fail(
      `'${name}' of shape [${shape.join(', ')}] and dtype ${dtype} takes ${needed} bytes, but data_offsets give ${end - begin}`,
    );
  return { dtype, shape: [...(shape as number[])], begin, end };
}

/** The data section is covered exactly once: no overlap, no gap, nothing behind. */
function checkLayout(tensors: ReadonlyMap<string, TensorEntry>, dataBytes: number, fail: Fail): void {
  let position = 0;
  let previous = '';
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  for (const [name, { begin, end }] of ordered) {
    if (begin < position)
      fail(`'${name}' overlaps '${previous}' (it begins at byte ${begin}, the other ends at ${position})`);
    if (begin > position) fail(`there is a gap of ${begin - position} bytes before '${name}'`);
    position = end;
    previous = name;
  }
  if (position !== dataBytes) fail(`${dataBytes - position} bytes at its end belong to no tensor`);
}

/** Header bytes with the 8-byte length prefix, padded with spaces so that data begin at a multiple of 8. */
export function makeHeader(
  entries: Iterable<readonly [string, TensorEntry]>,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  // Joined by hand: objects would reorder names that look like array indices.
  const members: string[] = [];
  if (Object.keys(metadata).length > 0) members.push(`"__metadata__":${JSON.stringify(metadata)}`);
  for (const [name, { dtype, shape, begin, end }] of entries)
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function countKeys(value: unknown): number {
  if (Array.isArray(value)) return value.reduce<number>((sum, entry) => sum + countKeys(entry), 0);
  if (!isRecord(value)) return 0;
  return Object.values(value).reduce<number>((sum, entry) => sum + 1 + countKeys(entry), 0);
}

/** In valid JSON each colon outside a string follows a key. */
function countWrittenKeys(text: string): number {
  return text.replace(/"(?:[^"\\]|\\.)*"/g, '').split(':').length - 1;
}

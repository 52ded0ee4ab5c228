/** The file format of a tokenized data set: checksummed, read in one go. */
import { createHash } from 'node:crypto';
import { TensorloomError } from '@tensorloom/core';
import { z } from 'zod';
import { TokenizedSplit, type TextClassificationData } from './tokenized-split.ts';

// magic (8 bytes) | SHA-256 of all that follows (32) | header length (uint32, little-endian) | header (JSON) | padding to 4 | arrays
const MAGIC = 'TLTOKEN1';
const HASH_BYTES = 32;
const SPLITS = ['train', 'validation', 'test'] as const;

const splitHeader = z.object({
  texts: z.number().int().nonnegative(),
  tokens: z.number().int().nonnegative(),
  idType: z.enum(['uint16', 'int32']),
  labelType: z.enum(['int32', 'float32']),
});
const fileHeader = z.object({
  name: z.string(),
  labelNames: z.array(z.string()),
  task: z.enum(['classification', 'regression']),
  splits: z.object({ train: splitHeader, validation: splitHeader, test: splitHeader }),
});

/** The parts of the file, in order; arrays are written as they lie in memory (little-endian). */
export function encodeTokenFile(data: TextClassificationData): Uint8Array[] {
  const describe = ({ ids, labels }: TokenizedSplit): z.infer<typeof splitHeader> => ({
    texts: labels.length,
    tokens: ids.length,
    idType: ids instanceof Uint16Array ? 'uint16' : 'int32',
    labelType: labels instanceof Int32Array ? 'int32' : 'float32',
  });
  const { name, labelNames, task } = data;
  const splits = { train: describe(data.train), validation: describe(data.validation), test: describe(data.test) };
  const header = Buffer.from(JSON.stringify({ name, labelNames, task, splits }));
  const padded = Buffer.alloc(align(header.length), ' ');
  header.copy(padded);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(padded.length);
  const body: Uint8Array[] = [length, padded];
  for (const split of SPLITS) {
    const { ids, offsets, labels } = data[split];
    for (const array of [offsets, labels, ids])
      body.push(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    body.push(new Uint8Array(align(ids.byteLength) - ids.byteLength));
  }
  const hash = createHash('sha256');
  for (const part of body) hash.update(part);
  return [Buffer.from(MAGIC), hash.digest(), ...body];
}

/**
 * The data set in `bytes`; its arrays share their memory.
 * @throws TensorloomError `BAD_FILE` for a file of another kind, or one that was cut or damaged
 */
export function decodeTokenFile(bytes: Buffer): TextClassificationData {
  const start = MAGIC.length + HASH_BYTES;
  if (bytes.length < start + 4 || bytes.toString('latin1', 0, MAGIC.length) !== MAGIC)
    throw new TensorloomError('BAD_FILE', 'not a file of tokens');
  const digest = createHash('sha256').update(bytes.subarray(start)).digest();
  if (!digest.equals(bytes.subarray(MAGIC.length, start)))
    throw new TensorloomError('BAD_FILE', 'its checksum is wrong');
  // After this check the rest is what `encodeTokenFile` wrote.
  const headerBytes = bytes.readUInt32LE(start);
  const { splits, ...rest } = fileHeader.parse(JSON.parse(bytes.toString('utf8', start + 4, start + 4 + headerBytes)));
  const source = aligned(bytes);
  let position = source.byteOffset + start + 4 + headerBytes;
  const take = <T>(
    type: new (buffer: ArrayBufferLike, offset: number, length: number) => T,
    length: number,
    size: number,
  ): T => {
    const array = new type(source.buffer, position, length);
    position += align(length * size);
    return array;
  };
  const read = (header: z.infer<typeof splitHeader>): TokenizedSplit => {
    const offsets = take(Int32Array, header.texts + 1, 4);
    const labels =
      header.labelType === 'int32' ? take(Int32Array, header.texts, 4) : take(Float32Array, header.texts, 4);
    const ids = header.idType === 'uint16' ? take(Uint16Array, header.tokens, 2) : take(Int32Array, header.tokens, 4);
    return new TokenizedSplit(ids, offsets, labels);
  };
  return { ...rest, train: read(splits.train), validation: read(splits.validation), test: read(splits.test) };
}

function align(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

/** Typed arrays need offsets that are multiples of their element's size; a small Buffer may lie anywhere in Node's pool. */
function aligned(bytes: Buffer): Buffer {
  return bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(new Uint8Array(bytes).buffer);
}

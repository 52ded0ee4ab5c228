/** Values of JSON's kind, and typed arrays, as bytes (MessagePack). */
import { TensorloomError } from '@tensorloom/core/distributed';
import { Packr } from 'msgpackr';

// No records and no extension that makes objects of classes: what comes from another process is data and nothing else.
const packr = new Packr({ useRecords: false, moreTypes: false, mapsAsObjects: true });

/** @throws TensorloomError `BAD_OPTION` for what MessagePack cannot hold */
export function packObject(value: unknown): Uint8Array {
  try {
    // A copy of its own: the packer reuses its buffer.
    return Uint8Array.from(packr.pack(value));
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
    return packr.unpack(bytes) as T;
  } catch (error) {
    throw new TensorloomError('BAD_DATA', `A message from another rank cannot be read: ${String(error)}.`, {
      cause: error,
    });
  }
}

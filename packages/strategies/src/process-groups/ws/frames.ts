/** The frame that travels in each WebSocket message: a header of fixed size, the text of a call, and data. */
import { TensorloomError } from '@tensorloom/core/distributed';

/** What a frame is for. */
export const FrameKind = {
  /** Of a collective. Without data: its sender has come to the call. */
  collective: 1,
  /** Of `send`; without data, from the receiver: it has come to `receive`. */
  pointToPoint: 2,
  /** A message of MessagePack: failures, goodbyes, questions. */
  control: 3,
  /** A sign of life that says what has arrived. It has no sequence number and is not repeated after a cut. */
  acknowledgement: 4,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** `step` of frames that only announce a call. */
export const ANNOUNCEMENT = 0xffff_ffff;

export const HEADER_BYTES = 64;
export const MAX_TEXT_BYTES = 2048;
/** Up to this size data are copied, so that the caller has its memory back at once; beyond, they are sent from where they are. */
export const EAGER_BYTES = 16 * 1024;
const MAGIC = 0x544c;

export interface FrameHeader {
  readonly kind: FrameKind;
  /** This frame asks for an acknowledgement at once. */
  readonly isLast: boolean;
  readonly textBytes: number;
  /** Hash of the group's id. */
  readonly group: number;
  /** Counts the frames of a link, from 1; 0 in acknowledgements. */
  readonly sequence: number;
  /** All frames up to this one have arrived at the sender of this one. */
  readonly acknowledged: number;
  /** Number of the call within the group (of the message within its tag). */
  readonly call: number;
  /** Step of a collective's algorithm; tag of point-to-point. */
  readonly step: number;
  /** Bytes of data in this frame, */
  readonly dataBytes: number;
  /** their place in the transfer, */
  readonly offset: number;
  /** and the size of the whole transfer. In acknowledgements: messages of `send` consumed so far. */
  readonly total: number;
}

/** A frame to send; the link adds the numbers. */
export type OutgoingFrame = Pick<FrameHeader, 'kind' | 'group' | 'call' | 'step' | 'offset' | 'total'> & {
  readonly text: string;
  readonly data: Uint8Array | null;
};

/** Written out, field by field: one is made for every frame, and spreads cost more. */
export function headerOf(
  { kind, group, call, step, offset, total }: OutgoingFrame,
  sequence: number,
  acknowledged: number,
  textBytes: number,
  dataBytes: number,
): FrameHeader {
  return { kind, isLast: false, textBytes, group, step, dataBytes, sequence, acknowledged, call, offset, total };
}

export function writeHeader(header: FrameHeader): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES);
  bytes.writeUInt16LE(MAGIC, 0);
  bytes.writeUInt8(header.kind, 2);
  bytes.writeUInt8(header.isLast ? 1 : 0, 3);
  bytes.writeUInt32LE(header.textBytes, 4);
  bytes.writeUInt32LE(header.group, 8);
  bytes.writeUInt32LE(header.step, 12);
  bytes.writeUInt32LE(header.dataBytes, 16);
  bytes.writeUInt32LE(0, 20);
  bytes.writeDoubleLE(header.sequence, 24);
  bytes.writeDoubleLE(header.acknowledged, 32);
  bytes.writeDoubleLE(header.call, 40);
  bytes.writeDoubleLE(header.offset, 48);
  bytes.writeDoubleLE(header.total, 56);
  return bytes;
}

/** @param taken messages of `send` consumed so far */
export function acknowledgement(isLast: boolean, acknowledged: number, taken: number): FrameHeader {
  const numbers = { textBytes: 0, group: 0, step: 0, dataBytes: 0, sequence: 0, acknowledged, call: 0, offset: 0 };
  return { kind: FrameKind.acknowledgement, isLast, ...numbers, total: taken };
}

/**
 * Reads a header and checks every field against the message it came in, before anything is done with it.
 * @param bytes at least `HEADER_BYTES`
 * @param messageBytes size of the whole message
 * @throws TensorloomError `BAD_DATA`
 */
export function readHeader(bytes: Buffer, messageBytes: number): FrameHeader {
  if (bytes.length < HEADER_BYTES || messageBytes < HEADER_BYTES) throw malformed(`it has ${messageBytes} bytes`);
  if (bytes.readUInt16LE(0) !== MAGIC) throw malformed('it does not begin as one');
  const kind = bytes.readUInt8(2);
  if (kind < 1 || kind > 4) throw malformed(`it is of kind ${kind}`);
  const flags = bytes.readUInt8(3);
  if (flags > 1 || bytes.readUInt32LE(20) !== 0) throw malformed('reserved bits are set');
  const header: FrameHeader = {
    kind: kind as FrameKind,
    isLast: flags === 1,
    textBytes: bytes.readUInt32LE(4),
    group: bytes.readUInt32LE(8),
    step: bytes.readUInt32LE(12),
    dataBytes: bytes.readUInt32LE(16),
    sequence: bytes.readDoubleLE(24),
    acknowledged: bytes.readDoubleLE(32),
    call: bytes.readDoubleLE(40),
    offset: bytes.readDoubleLE(48),
    total: bytes.readDoubleLE(56),
  };
  if (header.textBytes > MAX_TEXT_BYTES) throw malformed(`its text has ${header.textBytes} bytes`);
  if (HEADER_BYTES + header.textBytes + header.dataBytes !== messageBytes)
    throw malformed(`it says ${header.textBytes} + ${header.dataBytes} bytes, and has ${messageBytes - HEADER_BYTES}`);
  for (const field of ['sequence', 'acknowledged', 'call', 'offset', 'total'] as const)
    if (!Number.isSafeInteger(header[field]) || header[field] < 0) throw malformed(`its ${field} is ${header[field]}`);
  if ((header.kind === FrameKind.acknowledgement) !== (header.sequence === 0))
    throw malformed(`its sequence number is ${header.sequence}`);
  if (header.kind === FrameKind.acknowledgement && messageBytes !== HEADER_BYTES)
    throw malformed('an acknowledgement has no data');
  if (header.kind !== FrameKind.acknowledgement && header.offset + header.dataBytes > header.total)
    throw malformed(`it reaches to byte ${header.offset + header.dataBytes} of ${header.total}`);
  return header;
}

/** A message, taken apart. The data stay where they are, in pieces as they came. */
export interface Frame {
  readonly header: FrameHeader;
  readonly text: string;
  readonly data: readonly Uint8Array[];
  readonly messageBytes: number;
}

/** @throws TensorloomError `BAD_DATA` */
export function readFrame(pieces: readonly Buffer[]): Frame {
  const messageBytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const first = pieces[0] ?? Buffer.alloc(0);
  const header = readHeader(first, messageBytes);
  const dataStart = HEADER_BYTES + header.textBytes;
  if (first.length < dataStart) throw malformed('its head is in pieces');
  const text = header.textBytes === 0 ? '' : first.toString('utf8', HEADER_BYTES, dataStart);
  const rest = pieces.slice(1);
  const data = first.length === dataStart ? rest : [first.subarray(dataStart), ...rest];
  return { header, text, data: header.dataBytes === 0 ? [] : data, messageBytes };
}

function malformed(what: string): TensorloomError {
  return new TensorloomError('BAD_DATA', `A message is no frame: ${what}.`);
}

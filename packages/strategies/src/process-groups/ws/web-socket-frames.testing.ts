/** WebSocket frames for tests, sound or not. */
export interface TestFrame {
  readonly opcode: number;
  readonly payload: Uint8Array;
  readonly isFinal?: boolean;
  /** Four bytes; null: not masked. */
  readonly mask?: Uint8Array | null;
  /** Bits of the first byte that must not be set. */
  readonly reserved?: number;
  /** What the head says in place of the payload's size. */
  readonly declaredBytes?: number;
}

export function encode(frame: TestFrame): Buffer {
  const { opcode, payload, isFinal = true, mask = null, reserved = 0, declaredBytes: bytes = payload.length } = frame;
  const head = Buffer.alloc(bytes < 126 ? 2 : bytes < 65_536 ? 4 : 10);
  head[0] = (isFinal ? 0x80 : 0) | reserved | opcode;
  head[1] = (mask === null ? 0 : 0x80) | (bytes < 126 ? bytes : bytes < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(bytes, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(bytes), 2);
  if (mask === null) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i & 3]!)]);
}

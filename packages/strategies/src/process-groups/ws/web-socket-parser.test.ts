/** The parser of WebSocket frames against sound streams cut anywhere, and against wrong and random ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TensorloomError } from '@tensorloom/core/distributed';
import { encode, type TestFrame } from './web-socket-frames.testing.ts';
import { WebSocketParser } from './web-socket-parser.ts';

const MAX_BYTES = 70_000;

interface Seen {
  readonly messages: string[];
  readonly pings: string[];
  largestBytes: number;
  closes: number;
}

function parser(isMasked: boolean): { readonly parser: WebSocketParser; readonly seen: Seen } {
  const seen: Seen = { messages: [], pings: [], largestBytes: 0, closes: 0 };
  let parts: Buffer[] = [];
  const made = new WebSocketParser(isMasked, MAX_BYTES, {
    onBegin: () => (parts = []),
    onPayload: (bytes) => {
      parts.push(Buffer.from(bytes));
      seen.largestBytes = Math.max(
        seen.largestBytes,
        parts.reduce((sum, part) => sum + part.length, 0),
      );
    },
    onEnd: () => seen.messages.push(Buffer.concat(parts).toString('hex')),
    onPing: (payload) => seen.pings.push(Buffer.from(payload).toString('hex')),
    onClose: () => seen.closes++,
  });
  return { parser: made, seen };
}

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(125, 126, 65_535, 65_536).map((bytes) => new Uint8Array(bytes).fill(bytes)),
);
const four = fc.uint8Array({ minLength: 4, maxLength: 4 });
const mask = fc.oneof(fc.constant(new Uint8Array(4)), four);

/** A message in fragments with pings between them. */
const message = fc.record({
  whole: payload,
  cuts: fc.array(fc.nat({ max: 400 }), { maxLength: 3 }),
  pings: fc.array(fc.uint8Array({ maxLength: 125 }), { maxLength: 2 }),
  masks: fc.array(mask, { minLength: 6, maxLength: 6 }),
});

describe('a stream of WebSocket frames', () => {
  it('gives its messages and pings, however it is fragmented, masked and cut', () => {
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        fc.infiniteStream(fc.integer({ min: 1, max: 2000 })),
        (messages, isMasked, sizes) => {
          const bytes: Buffer[] = [];
          for (const { whole, cuts, pings, masks } of messages) {
            const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length];
            for (let i = 0; i + 1 < at.length; i++) {
              const frame = { opcode: i === 0 ? 2 : 0, isFinal: i + 2 === at.length };
              const part = whole.slice(at[i], at[i + 1]);
              bytes.push(encode({ ...frame, payload: part, mask: isMasked ? masks[i]! : null }));
              const ping = i === 0 ? pings : [];
              for (const data of ping)
                bytes.push(encode({ opcode: 9, payload: data, mask: isMasked ? masks[5]! : null }));
            }
          }
          const stream = Buffer.concat(bytes);
          const made = parser(isMasked);
          for (let from = 0; from < stream.length;) {
            const size = sizes.next().value as number;
            made.parser.push(Uint8Array.from(stream.subarray(from, from + size)));
            from += size;
          }
          const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
          expect(made.seen.messages).toEqual(messages.map(({ whole }) => hex(whole)));
          expect(made.seen.pings).toEqual(messages.flatMap(({ pings }) => pings.map(hex)));
        },
      ),
      { numRuns: 300 },
    );
  });

  const data = new Uint8Array(10);
  const zeros = new Uint8Array(4);
  const wrong: readonly (readonly [string, boolean, readonly TestFrame[]])[] = [
    ['text', false, [{ opcode: 1, payload: data }]],
    ['an unknown opcode', false, [{ opcode: 3, payload: data }]],
    ['an unknown control opcode', false, [{ opcode: 11, payload: data }]],
    ['reserved bits', false, [{ opcode: 2, payload: data, reserved: 0x40 }]],
    ['a frame without a mask, to the server', true, [{ opcode: 2, payload: data }]],
    ['a frame with a mask, to the client', false, [{ opcode: 2, payload: data, mask: zeros }]],
    ['a continuation of nothing', false, [{ opcode: 0, payload: data }]],
    [
      'a message within a message',
      false,
      [
        { opcode: 2, payload: data, isFinal: false },
        { opcode: 2, payload: data },
      ],
    ],
    ['a ping in fragments', false, [{ opcode: 9, payload: data, isFinal: false }]],
    ['a ping of 126 bytes', false, [{ opcode: 9, payload: new Uint8Array(126) }]],
    ['the head of a message that is too large', false, [{ opcode: 2, payload: data, declaredBytes: MAX_BYTES + 1 }]],
    ['the head of a message of 2^63 bytes', false, [{ opcode: 2, payload: data, declaredBytes: 2 ** 63 }]],
    [
      'fragments that are too large together',
      false,
      [
        { opcode: 2, payload: new Uint8Array(MAX_BYTES), isFinal: false },
        { opcode: 0, payload: data },
      ],
    ],
  ];
  it.each(wrong)('with %s is refused, and no message comes of it', (_, isMasked, frames) => {
    const { parser: made, seen } = parser(isMasked);
    expect(() => made.push(Buffer.concat(frames.map(encode)))).toThrow(TensorloomError);
    expect(seen.messages).toEqual([]);
  });

  it('ends with the close of the other side', () => {
    const { parser: made, seen } = parser(false);
    made.push(Buffer.concat([encode({ opcode: 8, payload: data }), encode({ opcode: 2, payload: data })]));
    expect(seen).toMatchObject({ closes: 1, messages: [] });
  });

  it('of random or mutated bytes, 5,000 times, is refused or stays within its bounds', () => {
    const sound = encode({ opcode: 2, payload: new Uint8Array(200), mask: Uint8Array.of(1, 2, 3, 4) });
    const flips = fc.array(fc.tuple(fc.nat({ max: 20 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 5 });
    const mutated = flips.map((changes) => {
      const bytes = Uint8Array.from(Buffer.concat([sound, sound, sound]));
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 500 }), mutated), fc.boolean(), (bytes, isMasked) => {
        const { parser: made, seen } = parser(isMasked);
        try {
          made.push(Uint8Array.from(bytes));
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_DATA' });
        }
        expect(seen.largestBytes).toBeLessThanOrEqual(MAX_BYTES);
      }),
      { numRuns: 5000 },
    );
  });
});

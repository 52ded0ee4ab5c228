/** The parser of frames against random and mutated bytes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TensorloomError } from '@tensorloom/core/distributed';
import { FrameKind, HEADER_BYTES, MAX_TEXT_BYTES, readHeader, writeHeader, type FrameHeader } from './frames.ts';

const size = fc.integer({ min: 0, max: 100_000 });
const sound: fc.Arbitrary<FrameHeader> = fc
  .record({
    kind: fc.constantFrom(FrameKind.collective, FrameKind.pointToPoint, FrameKind.control),
    isLast: fc.boolean(),
    textBytes: fc.integer({ min: 0, max: MAX_TEXT_BYTES }),
    group: fc.nat(),
    sequence: fc.integer({ min: 1, max: 2 ** 50 }),
    acknowledged: size,
    call: size,
    step: fc.nat(),
    dataBytes: size,
    offset: size,
    total: size,
  })
  .map((header) => ({ ...header, total: header.offset + header.dataBytes + header.total }));

/** What whoever reads a frame relies on. */
function expectBounded(header: FrameHeader, messageBytes: number): void {
  expect(HEADER_BYTES + header.textBytes + header.dataBytes).toBe(messageBytes);
  expect(header.textBytes).toBeLessThanOrEqual(MAX_TEXT_BYTES);
  for (const value of [header.sequence, header.acknowledged, header.call, header.offset, header.total]) {
    expect(Number.isSafeInteger(value)).toBe(true);
    expect(value).toBeGreaterThanOrEqual(0);
  }
  if (header.kind !== FrameKind.acknowledgement)
    expect(header.offset + header.dataBytes).toBeLessThanOrEqual(header.total);
}

/** A header within its bounds, or an error of ours. */
function tryRead(bytes: Buffer, messageBytes: number): FrameHeader | null {
  try {
    return readHeader(bytes, messageBytes);
  } catch (error) {
    expect(error).toBeInstanceOf(TensorloomError);
    expect(error).toMatchObject({ code: 'BAD_DATA' });
    return null;
  }
}

describe('the header of a frame', () => {
  it('reads as it was written', () => {
    fc.assert(
      fc.property(sound, (header) => {
        expect(readHeader(writeHeader(header), HEADER_BYTES + header.textBytes + header.dataBytes)).toEqual(header);
      }),
    );
  });

  it('of 5,000 random messages is refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(tryRead(Buffer.from(bytes), bytes.length)).toBeNull();
      }),
      { numRuns: 5000 },
    );
  });

  it('of 10,000 mutated messages is refused or within its bounds', () => {
    const flips = fc.array(fc.record({ at: fc.nat({ max: HEADER_BYTES - 1 }), value: fc.nat({ max: 255 }) }), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(sound, flips, fc.integer({ min: -70, max: 70 }), (header, changes, more) => {
        const bytes = writeHeader(header);
        for (const { at, value } of changes) bytes[at] = value;
        for (const messageBytes of [HEADER_BYTES + header.textBytes + header.dataBytes, HEADER_BYTES + more]) {
          const read = tryRead(bytes, messageBytes);
          if (read !== null) expectBounded(read, messageBytes);
        }
      }),
      { numRuns: 10_000 },
    );
  });
});

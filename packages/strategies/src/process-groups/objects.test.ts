import { describe, expect, it } from 'vitest';
import { packObject, unpackObject } from './objects.ts';

const throughTheWire = (value: unknown): unknown => unpackObject(packObject(value));

describe('objects between ranks', () => {
  it.each([
    [null],
    [true],
    [-1.5],
    ['text'],
    [[1, [2, { a: [] }]]],
    [{ a: { b: null }, c: [1] }],
    [Uint8Array.of(1, 2, 255)],
    [{ deep: [Float32Array.of(1.5, -2), Int32Array.of(7), Float64Array.of(Math.PI), Uint16Array.of(65535)] }],
    [new Float32Array([1, 2, 3, 4]).subarray(1, 3)],
    [{ $array: 'Float32Array', bytes: Uint8Array.of(1, 2, 3, 4), more: [{ $array: '', value: { $array: 1 } }] }],
  ])('%j arrives as it was sent', (value) => {
    expect(throughTheWire(value)).toEqual(value);
  });

  it('leave the packer free for the next one', () => {
    const first = packObject({ a: 'x'.repeat(1000) });
    const copy = Uint8Array.from(first);
    packObject({ a: 'y'.repeat(1000) });
    expect(first).toEqual(copy);
  });

  it.each([[new Map([[1, 2]])], [{ when: new Date(0) }], [[new URL('http://a')]]])(
    'an object of a class is refused: %o',
    (value) => {
      expect(() => packObject(value)).toThrow(/cannot travel between ranks.*class/);
    },
  );

  it('what is no message is refused', () => {
    expect(() => unpackObject(Uint8Array.of(0xc1, 1, 2))).toThrow(/cannot be read/);
    expect(() => unpackObject(new Uint8Array(0))).toThrow(/cannot be read/);
  });
});

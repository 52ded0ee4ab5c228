import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { entry, file, newPath, read } from './safetensors.testing.ts';

describe('reading other dtypes', () => {
  const one = (dtype: string, width: number, fill: (view: DataView) => void, count = 1): string => {
    const data = new Uint8Array(width * count);
    fill(new DataView(data.buffer));
    return file(JSON.stringify({ x: entry(dtype, [count], 0, data.length) }), data);
  };

  it('converts F16, BF16 and F64 to float32', () => {
    const halves = [0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x7c00, 0xfc00, 0x7e00];
    const path = one('F16', 2, (view) => halves.forEach((half, i) => view.setUint16(2 * i, half, true)), halves.length);
    expect([...read(path, 'x').data]).toEqual([
      0,
      -0,
      1,
      -2,
      65504,
      2 ** -24,
      Math.fround(1023 * 2 ** -24),
      Infinity,
      -Infinity,
      Number.NaN,
    ]);
    const brain = one(
      'BF16',
      2,
      (view) => [0x3f80, 0xc049, 0x7f80, 0x0001].forEach((half, i) => view.setUint16(2 * i, half, true)),
      4,
    );
    expect([...read(brain, 'x').data]).toEqual([1, -3.140625, Infinity, Math.fround(9.183549615799121e-41)]);
    expect([
      ...read(
        one('F64', 8, (view) => view.setFloat64(0, Math.PI, true)),
        'x',
      ).data,
    ]).toEqual([Math.fround(Math.PI)]);
  });

  it('converts integers and booleans to int32, and refuses what does not fit', () => {
    expect(
      read(
        one('I64', 8, (view) => view.setBigInt64(0, -5n, true)),
        'x',
      ),
    ).toMatchObject({ dtype: 'int32', data: Int32Array.of(-5) });
    expect([
      ...read(
        one('U8', 1, (view) => view.setUint8(0, 255)),
        'x',
      ).data,
    ]).toEqual([255]);
    expect([
      ...read(
        one('I8', 1, (view) => view.setInt8(0, -1)),
        'x',
      ).data,
    ]).toEqual([-1]);
    expect([
      ...read(
        one('BOOL', 1, (view) => view.setUint8(0, 1)),
        'x',
      ).data,
    ]).toEqual([1]);
    expect([
      ...read(
        one('U16', 2, (view) => view.setUint16(0, 65535, true)),
        'x',
      ).data,
    ]).toEqual([65535]);
    expect(() =>
      read(
        one('I64', 8, (view) => view.setBigInt64(0, 2n ** 31n, true)),
        'x',
      ),
    ).toThrow(/'x' holds 2147483648, which does not fit into int32/);
    expect(() =>
      read(
        one('U64', 8, (view) => view.setBigUint64(0, 2n ** 64n - 1n, true)),
        'x',
      ),
    ).toThrow(/does not fit/);
  });

  it('says which dtype it cannot read', () => {
    expect(() =>
      read(
        one('F8_E4M3', 1, () => {}),
        'x',
      ),
    ).toThrow(expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(/F8_E4M3/) }));
  });

  it('reads behind 2 GB', () => {
    const begin = 2 ** 31 + 12;
    const header = new TextEncoder().encode(
      JSON.stringify({ hole: entry('F32', [begin / 4], 0, begin), x: entry('F32', [2], begin, begin + 8) }),
    );
    const path = newPath();
    const descriptor = openSync(path, 'w');
    const prefix = new Uint8Array(8);
    new DataView(prefix.buffer).setBigUint64(0, BigInt(header.length), true);
    writeSync(descriptor, prefix);
    writeSync(descriptor, header);
    ftruncateSync(descriptor, 8 + header.length + begin);
    writeSync(descriptor, new Uint8Array(Float32Array.of(1.25, -2).buffer), 0, 8, 8 + header.length + begin);
    closeSync(descriptor);
    expect([...read(path, 'x').data]).toEqual([1.25, -2]);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { roundToBfloat16, roundToFloat16 } from '../checkpoints/half.ts';
import { roundRows } from './round-rows.ts';

const special = [
  0,
  -0,
  1e-8,
  2 ** -25,
  2 ** -24,
  2 ** -14,
  65504,
  65519.996,
  65520,
  -7e4,
  1e38,
  Infinity,
  -Infinity,
  NaN,
];

describe('roundRows', () => {
  it.each([
    ['float16', roundToFloat16],
    ['bfloat16', roundToBfloat16],
  ] as const)('rounds to the nearest %s, whatever the value', (storage, round) => {
    const check = (values: Float32Array): void => {
      const expected = Array.from(values, round);
      roundRows(values, values.length, null, storage);
      expect([...values]).toEqual(expected);
    };
    check(Float32Array.from(special));
    fc.assert(fc.property(fc.float32Array({ maxLength: 40 }), check));
    fc.assert(fc.property(fc.float32Array({ maxLength: 40, min: -2, max: 2 }), check));
  });

  it('changes only the rows asked for, and none for float32', () => {
    const table = new Float32Array(6).fill(1 / 3);
    roundRows(table, 2, null, 'float32');
    roundRows(table, 2, Int32Array.of(1), 'float16');
    const [exact, rounded] = [Math.fround(1 / 3), roundToFloat16(1 / 3)];
    expect([...table]).toEqual([exact, exact, rounded, rounded, exact, exact]);
  });
});

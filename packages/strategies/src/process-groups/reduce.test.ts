/** Reductions against plain loops, and half-precision numbers against their definition. */
import {
  BFloat16Bits,
  Float16Bits,
  viewOf,
  bytesPerElement,
  type CollectiveArray,
  type ElementType,
  type ReduceOp,
} from '@tensorloom/core/distributed';
import { describe, expect, it } from 'vitest';
import { halves } from './halves.ts';
import { reduceInto, scaleToMean } from './reduce.ts';

const plain: Readonly<Record<ReduceOp, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  mean: (a, b) => a + b,
  product: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};

function make(type: ElementType, values: readonly number[]): CollectiveArray {
  const data: CollectiveArray = viewOf(type, new ArrayBuffer(values.length * bytesPerElement(type)), 0, values.length);
  data.set(values);
  return data;
}

/** Not all round, of both signs. */
function values(length: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => ((i * 7919 + seed * 104_729) % 2001) / 8 - 125);
}

describe('reduceInto', () => {
  const types: readonly ElementType[] = ['float32', 'float64', 'int32', 'uint8'];
  it.each(
    types.flatMap((type) => (['sum', 'mean', 'max', 'min', 'product'] as const).map((op) => [type, op] as const)),
  )('%s %s is what a plain loop gives, at every length', (type, op) => {
    for (const length of [0, 1, 3, 4, 5, 1003, 5001]) {
      const a = make(type, values(length, 1));
      const b = make(type, values(length, 2));
      const expected = make(
        type,
        [...a].map((value, i) => plain[op](value, b[i] as number)),
      );
      reduceInto(a, b, op, type);
      expect([...a]).toEqual([...expected]);
    }
  });

  it.each(['float16', 'bfloat16'] as const)('%s is computed in float32 and rounded once', (type) => {
    const { encode, decode } = halves[type];
    for (const op of ['sum', 'mean', 'max', 'min', 'product'] as const) {
      const a = make(type, values(501, 1).map(encode));
      const b = make(type, values(501, 2).map(encode));
      const expected = [...a].map((value, i) => encode(plain[op](decode(value), decode(b[i] as number))));
      reduceInto(a, b, op, type);
      expect([...a]).toEqual(expected);
    }
  });
});

describe('scaleToMean', () => {
  it('divides', () => {
    const data = make('float32', [3, 6, -9]);
    scaleToMean(data, 4, 'float32');
    expect([...data]).toEqual([0.75, 1.5, -2.25]);
    const half = Float16Bits.from([halves.float16.encode(3)]);
    scaleToMean(half, 2, 'float16');
    expect(halves.float16.decode(half[0] as number)).toBe(1.5);
    const brain = BFloat16Bits.from([halves.bfloat16.encode(5)]);
    scaleToMean(brain, 2, 'bfloat16');
    expect(halves.bfloat16.decode(brain[0] as number)).toBe(2.5);
  });

  it('refuses whole numbers', () => {
    expect(() => {
      scaleToMean(make('int32', [1]), 2, 'int32');
    }).toThrow(/mean of int32/);
  });
});

/** The bit pattern whose value is nearest to `value`, among all, ties to the even pattern: the definition, by search. */
function nearest(decode: (pattern: number) => number, value: number, infinity: number): number {
  let low = 0;
  let high = infinity;
  // Patterns of positive numbers are in the order of their values. Infinity stands where the next number would be.
  const at = (pattern: number): number =>
    pattern === infinity ? 2 * decode(infinity - 1) - decode(infinity - 2) : decode(pattern);
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at(middle) <= value) low = middle;
    else high = middle;
  }
  const below = value - at(low);
  const above = at(high) - value;
  return below < above || (below === above && low % 2 === 0) ? low : high;
}

describe.each([
  ['float16', 0x7c00],
  ['bfloat16', 0x7f80],
] as const)('%s', (type, infinity) => {
  const { encode, decode, table } = halves[type];

  it('decodes and encodes every pattern to itself', () => {
    const word = new Uint16Array(1);
    for (let pattern = 0; pattern < 65536; pattern++) {
      const value = decode(pattern);
      expect(Object.is(table[pattern], value)).toBe(true);
      word[0] = encode(value);
      if (Number.isNaN(value)) expect(decode(word[0] as number)).toBeNaN();
      else if (word[0] !== pattern) throw new Error(`${pattern} (${value}) became ${word[0]}`);
    }
  });

  it('rounds to nearest, ties to even', () => {
    for (let pattern = 0; pattern < infinity - 1; pattern += 37) {
      const a = decode(pattern);
      const b = decode(pattern + 1);
      const middle = (a + b) / 2;
      for (const value of [a, middle, middle + (b - middle) / 64, middle - (middle - a) / 64]) {
        const float32 = Math.fround(value);
        expect(encode(float32)).toBe(nearest(decode, float32, infinity));
        expect(encode(-float32)).toBe(nearest(decode, float32, infinity) | 0x8000);
      }
    }
  });

  it('becomes infinite where infinity is nearest', () => {
    expect(encode(3.4e38 * (type === 'float16' ? 1 : 1.001))).toBe(infinity);
    expect(encode(-Infinity)).toBe(infinity | 0x8000);
    if (type === 'float16') expect([encode(65519.99), encode(65520)]).toEqual([infinity - 1, infinity]);
  });
});

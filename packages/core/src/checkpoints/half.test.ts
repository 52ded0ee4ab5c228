import { describe, expect, it } from 'vitest';
import { bfloat16ToNumber, float16ToNumber, roundToBfloat16, roundToFloat16 } from './half.ts';

const allHalves = Array.from({ length: 65536 }, (_, bits) => bits);

describe('float16', () => {
  it('keeps each of its own values when rounding', () => {
    expect(allHalves.map(float16ToNumber).filter((value) => !Object.is(roundToFloat16(value), value))).toEqual([]);
  });

  it('rounds to the nearest, ties to even', () => {
    const wrong = allHalves.slice(0, 0x7bff).filter((bits) => {
      const [low, high] = [float16ToNumber(bits), float16ToNumber(bits + 1)];
      const middle = (low + high) / 2;
      const above = middle + (high - low) / 8;
      return (
        roundToFloat16(middle) !== (bits % 2 === 0 ? low : high) ||
        roundToFloat16(above) !== high ||
        roundToFloat16(-above) !== -high
      );
    });
    expect(wrong).toEqual([]);
  });

  it('overflows to infinity from halfway beyond its largest value on', () => {
    expect([65504, 65519.99, 65520, -65520].map(roundToFloat16)).toEqual([65504, 65504, Infinity, -Infinity]);
  });
});

describe('bfloat16', () => {
  it('keeps its own values and rounds ties to even', () => {
    expect(allHalves.map(bfloat16ToNumber).filter((value) => !Object.is(roundToBfloat16(value), value))).toEqual([]);
    expect(roundToBfloat16(1 + 2 ** -8)).toBe(1);
    expect(roundToBfloat16(1 + 3 * 2 ** -8)).toBe(1 + 2 ** -6);
    expect(roundToBfloat16(1 + 2 ** -8 + 2 ** -20)).toBe(1 + 2 ** -7);
  });
});

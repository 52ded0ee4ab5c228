import { describe, expect, it } from 'vitest';
import { strictElements } from './parameter-bounds.ts';

const LR = 1e-3;
const SIZE = 1000;

/** A tensor whose elements below `wrong` missed a step of Adam because our own gradient was zero in it. */
function strictOf(wrong: number, referenceGradient = 0.1): number {
  const strict = strictElements({
    actual: new Float32Array(SIZE).fill(LR, 0, wrong),
    expected: new Float32Array(SIZE),
    referenceGradient: new Float32Array(SIZE).fill(referenceGradient),
    smallestOwn: (index) => (index < wrong ? 0 : 0.1),
  });
  return Array.from({ length: SIZE }, (_, index) => strict(index)).filter(Boolean).length;
}

describe('the strict bound of parameters', () => {
  it('holds wherever there is a gradient', () => {
    expect(strictOf(0)).toBe(SIZE);
  });

  it('excuses elements without a reference gradient, however many', () => {
    expect(strictOf(0, 1e-7)).toBe(0);
    expect(strictOf(SIZE, 1e-7)).toBe(0);
  });

  it('excuses a few elements whose gradient cancelled out in a step', () => {
    expect(strictOf(2)).toBe(SIZE - 2);
  });

  it('excuses none if many need it: a gradient that is zero by mistake does not excuse itself', () => {
    expect(strictOf(3)).toBe(SIZE);
    expect(strictOf(SIZE)).toBe(SIZE);
  });

  it('does not excuse values that are not finite', () => {
    const strict = strictElements({
      actual: new Float32Array(3).fill(NaN),
      expected: new Float32Array(3),
      referenceGradient: new Float32Array(3).fill(1),
      smallestOwn: () => 0,
    });
    expect([0, 1, 2].map(strict)).toEqual([true, true, true]);
  });
});

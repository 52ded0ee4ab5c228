import { describe, expect, it } from 'vitest';
import { activationBound, gradientBound, lossBound, stillParameterBound } from './bounds.ts';
import { Comparison, largest } from './comparison.ts';

describe('a comparison', () => {
  it('reports the element that is nearest to its own bound, not the largest error', () => {
    const comparison = new Comparison('case', 'gradients');
    comparison.tensor('wide', [1, 2.5], [1, 2], 1);
    comparison.tensor('narrow', [0, 0, 0.09], [0, 0, 0], 0.1);
    const check = comparison.check();
    expect(check).toMatchObject({ where: 'narrow[2]', bound: 0.1, ok: true, over: [] });
    expect(check?.error).toBeCloseTo(0.09, 12);
  });

  it('fails when one element is over, and names every tensor that has one', () => {
    const comparison = new Comparison('case', 'parameters');
    comparison.tensor('a', [0, 3], [0, 0], 1);
    comparison.tensor('b', [0, 0], [0, 0], 1);
    comparison.tensor('c', [2, 0], [0, 0], 1);
    expect(comparison.check()).toMatchObject({ where: 'a[1]', ok: false, over: ['a', 'c'] });
  });

  it('fails on values that are not finite, in the result or in the reference', () => {
    for (const [actual, expected] of [
      [NaN, 0],
      [0, NaN],
      [Infinity, 0],
      [0, -Infinity],
    ] as const) {
      const comparison = new Comparison('case', 'logits');
      comparison.tensor('logits', [0.9, actual], [0, expected], 1);
      expect(comparison.check()).toMatchObject({ ok: false, over: ['logits'], where: 'logits[1]' });
    }
  });

  it('with a bound of zero asks for equality', () => {
    const comparison = new Comparison('case', 'rows');
    comparison.value('rows', 0, 0, 0);
    expect(comparison.check()?.ok).toBe(true);
    comparison.value('rows', 1, 0, 0);
    expect(comparison.check()?.ok).toBe(false);
  });

  it('leaves out the elements that have no bound, and says nothing if nothing was compared', () => {
    const comparison = new Comparison('case', 'parameters');
    comparison.tensor('a', [0, 9], [0, 0], () => undefined);
    expect(comparison.check()).toBeUndefined();
    comparison.tensor('a', [0, 9], [0, 0], (index) => (index === 0 ? 1 : undefined));
    expect(comparison.check()).toMatchObject({ where: 'a[0]', ok: true });
  });

  it('refuses tensors of different sizes', () => {
    expect(() => new Comparison('case', 'x').tensor('x', [1], [1, 2], 1)).toThrow(/1 elements.*2/);
  });
});

describe('the bounds', () => {
  it('of activations are 1e-5 plus 1e-5 of the largest value', () => {
    expect(activationBound(0)).toBeCloseTo(1e-5, 15);
    expect(activationBound(3)).toBeCloseTo(4e-5, 15);
  });

  it('of gradients are 1e-4 of the largest of the tensor, unless all of it is rounding noise', () => {
    expect(gradientBound(0.02, 5)).toBeCloseTo(2e-6, 15);
    expect(gradientBound(2e-7, 1)).toBeCloseTo(2e-11, 18);
    expect(gradientBound(5e-8, 1)).toBe(1e-7);
    expect(gradientBound(0, 0)).toBe(1e-7);
  });

  it('of parameters without gradient are what Adam can make of noise', () => {
    expect(stillParameterBound(1e-3, 3)).toBeCloseTo(6e-3, 12);
  });

  it('of losses are 1e-5, until float32 cannot tell such losses apart', () => {
    expect(lossBound(0.7)).toBe(1e-5);
    expect(lossBound(20)).toBe(1e-5);
    expect(lossBound(1000)).toBeGreaterThan(4e-4);
  });
});

it('largest is the largest absolute value', () => {
  expect(largest([1, -3, 2])).toBe(3);
  expect(largest([])).toBe(0);
});

import { Parameter, RowSparse, tf } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { readGradient, SmallestGradients } from './gradients.ts';

beforeAll(() => tf.setBackend('cpu'));

function parameterWith(gradient: number[][]): Parameter {
  const parameter = new Parameter(tf.zeros([gradient.length, gradient[0]?.length ?? 0]));
  parameter.grad = tf.tensor2d(gradient);
  return parameter;
}

describe('a gradient of an open window', () => {
  it('is the mean over its items', () => {
    expect([...readGradient(parameterWith([[2, -6]]), 4)]).toEqual([0.5, -1.5]);
  });

  it('is zero in the rows that did not occur, and where the parameter took no part', () => {
    const table = new Parameter(tf.zeros([4, 2]));
    expect([...readGradient(table, 2)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    table.grad = new RowSparse(
      Int32Array.of(1, 3),
      tf.tensor2d([
        [2, 4],
        [6, 8],
      ]),
      4,
    );
    expect([...readGradient(table, 2)]).toEqual([0, 0, 1, 2, 0, 0, 3, 4]);
  });
});

it('the smallest size of each element over the steps tells where Adam steps by noise', () => {
  const smallest = new SmallestGradients();
  smallest.add([['w', parameterWith([[2, -1e-8]])]], 1);
  smallest.add([['w', parameterWith([[-1, 3]])]], 1);
  expect(smallest.of('w', 0)).toBe(1);
  expect(smallest.of('w', 1)).toBeCloseTo(1e-8, 12);
  expect(smallest.of('never seen', 0)).toBe(Infinity);
});

import { backward, linear, Parameter, tf, type Scalar, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { setActivationStorage } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { expectClose, onBackend, values } from './compare.testing.ts';

interface Case {
  readonly shape: readonly number[];
  readonly out: number;
  readonly withBias: boolean;
  readonly frozen?: readonly number[];
}

/** The output, and the gradients of x, weight and bias of a weighted sum of it; `null` for frozen ones. */
function run({ shape, out, withBias, frozen = [] }: Case): (Float32Array | null)[] {
  const inner = shape.at(-1) as number;
  const x = new Parameter(tf.tensor(values(tf.util.sizeFromShape([...shape]), 1), [...shape]));
  const weight = new Parameter(tf.tensor(values(out * inner, 2), [out, inner]));
  const bias = withBias ? new Parameter(tf.tensor(values(out, 3), [out])) : null;
  const parameters = [x, weight, ...(bias === null ? [] : [bias])];
  for (const index of frozen) if (parameters[index] !== undefined) parameters[index].requiresGrad = false;
  const { y, loss } = backward(
    () => {
      const y = linear(x.value, weight, bias);
      return { y, loss: tf.sum(tf.mul(y, tf.tensor(values(y.size, 4), y.shape))) as Scalar };
    },
    { parameters },
  );
  const results = [y, ...parameters.map((p) => p.grad as Tensor | null)].map(
    (t) => t && (t.dataSync() as Float32Array),
  );
  tf.dispose([y, loss]);
  for (const p of parameters) p.dispose();
  return results;
}

function compare(test: Case): void {
  const expected = onBackend('cpu', () => run(test));
  const actual = onBackend('native', () => run(test));
  expect(actual.length).toBe(expected.length);
  for (const [i, values] of expected.entries())
    if (values === null) expect(actual[i]).toBeNull();
    else expectClose(actual[i] as Float32Array, values);
}

describe.skipIf(!nativeIsBuilt)('Linear on native', () => {
  beforeAll(activateNative);

  it("equals the composite on tfjs's CPU backend, with its gradients, at any size", () => {
    const size = fc.integer({ min: 1, max: 40 });
    const lead = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 0, maxLength: 2 });
    fc.assert(
      fc.property(lead, size, size, fc.boolean(), (batch, inner, out, withBias) =>
        compare({ shape: [...batch, inner], out, withBias }),
      ),
      { numRuns: 40 },
    );
  });

  it.each([1, 7, 33, 1023])('is right for %i tokens', (tokens) => {
    compare({ shape: [1, tokens, 65], out: 97, withBias: true });
  });

  it('leaves out the gradients of what is frozen', () => {
    const test = { shape: [5, 8], out: 3, withBias: true };
    compare({ ...test, frozen: [0] });
    compare({ ...test, frozen: [1] });
    compare({ ...test, frozen: [0, 2] });
  });

  it.each([
    ['float16', 2e-3],
    ['bfloat16', 1.6e-2],
  ] as const)('takes and gives activations that are stored as %s', (storage, tolerance) => {
    const test = { shape: [9, 33], out: 20, withBias: true };
    const expected = onBackend('cpu', () => run(test));
    const actual = onBackend('native', () => {
      setActivationStorage(storage);
      try {
        return run(test);
      } finally {
        setActivationStorage(null);
      }
    });
    for (const [i, values] of expected.entries())
      expectClose(actual[i] as Float32Array, values as Float32Array, tolerance);
    expect([...(actual[0] as Float32Array)]).not.toEqual([...(expected[0] as Float32Array)]);
  });

  it('leaves no tensor behind', () => {
    onBackend('native', () => {
      const before = tf.memory().numTensors;
      run({ shape: [3, 4], out: 5, withBias: true });
      expect(tf.memory().numTensors).toBe(before);
    });
  });
});

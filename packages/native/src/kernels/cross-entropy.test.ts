import { backward, crossEntropy, linear, Parameter, tf, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, storageCodes } from '../addon.ts';
import { nativeBackend } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { expectClose, onBackend, values } from './compare.testing.ts';
import { compareWithComposite } from './composite.testing.ts';

const loss =
  (labels: readonly number[]) =>
  ([logits]: Tensor[]): Tensor =>
    crossEntropy(logits as Tensor, tf.tensor1d([...labels], 'int32')).loss;

describe.skipIf(!nativeIsBuilt)('CrossEntropy on native', () => {
  beforeAll(activateNative);

  it("equals the composite on tfjs's CPU backend, with its gradient, also where labels are ignored", () => {
    const label = (classes: number): fc.Arbitrary<number> =>
      fc.oneof(fc.constant(-100), fc.integer({ min: 0, max: classes - 1 }));
    const cases = fc
      .integer({ min: 1, max: 70 })
      .chain((classes) => fc.tuple(fc.constant(classes), fc.array(label(classes), { minLength: 1, maxLength: 20 })));
    fc.assert(
      fc.property(cases, ([classes, labels]) =>
        compareWithComposite([{ shape: [labels.length, classes] }], loss(labels)),
      ),
      { numRuns: 60 },
    );
  });

  it.each([1, 7, 33, 1023])('is right for %i tokens', (tokens) => {
    compareWithComposite([{ shape: [tokens, 9] }], loss(Array.from({ length: tokens }, (_, i) => (i * 5) % 9)));
  });

  it('is right over a vocabulary of 250,880', () => {
    compareWithComposite([{ shape: [3, 250_880] }], loss([250_879, -100, 16_384]));
  });

  it('takes logits that are stored as halves', () => {
    const run = (storage: number): Float32Array[] =>
      onBackend('native', () => {
        const handle = addon().uploadFloats(values(5 * 40, 1), storage);
        const logits = tf.engine().makeTensorFromTensorInfo(nativeBackend().fromHandle(handle, [5, 40]));
        const of = (logits: Tensor): Tensor => loss([1, 2, 39, 0, 7])([logits]);
        return [of(logits), tf.grad(of)(logits)].map((tensor) => tensor.dataSync() as Float32Array);
      });
    const [expectedLoss, expectedGradient] = run(storageCodes.float32) as [Float32Array, Float32Array];
    for (const storage of [storageCodes.float16, storageCodes.bfloat16]) {
      const [actualLoss, actualGradient] = run(storage) as [Float32Array, Float32Array];
      expectClose(actualLoss, expectedLoss, 1e-2);
      expectClose(actualGradient, expectedGradient, 1e-2);
      expect([...actualLoss]).not.toEqual([...expectedLoss]);
    }
  });

  it('refuses a label that is no class', () => {
    const device = addon();
    const [logits, labels] = [device.uploadFloats(new Float32Array(4), 0), device.uploadIntegers(Int32Array.of(0, 2))];
    expect(() => device.crossEntropy(logits, labels, -100, 2)).toThrow(/label 2 is out of range; there are 2 classes/);
    for (const handle of [logits, labels]) device.free(handle);
  });
});

describe.skipIf(!nativeIsBuilt)('the gradient of CrossEntropy on native', () => {
  const [tokens, width, classes] = [16, 2, 250_880];
  const labels = Array.from({ length: tokens }, (_, i) => 1000 * i);
  beforeAll(activateNative);

  /** Peak memory of forward and backward of a head, in sizes of its logits; its weight's gradient; and the logits if `keeps`. */
  function run(keeps: boolean): { peak: number; gradient: Float32Array; logits: Float32Array | null } {
    return onBackend('native', () => {
      const x = tf.tensor(values(tokens * width, 1), [tokens, width]);
      const weight = new Parameter(tf.tensor(values(classes * width, 2), [classes, width]));
      nativeBackend().handle(weight.value);
      addon().resetPeaks();
      const before = addon().memoryUsage().total.currentBytes;
      const { logits } = backward(
        () => {
          const logits = linear(x, weight);
          const { loss } = crossEntropy(logits, tf.tensor1d(labels, 'int32'));
          return { loss, logits: keeps ? logits : null };
        },
        { parameters: [weight] },
      );
      const peak = (addon().memoryUsage().total.peakBytes - before) / (4 * tokens * classes);
      const gradient = (weight.grad as Tensor).dataSync() as Float32Array;
      weight.dispose();
      return { peak, gradient, logits: logits && (logits.dataSync() as Float32Array) };
    });
  }

  it('takes the place of logits that nobody else needs, so that no second copy of them is made', () => {
    const { peak } = run(false);
    expect(peak).toBeGreaterThan(1);
    expect(peak).toBeLessThan(1.5);
  });

  it('leaves logits alone that someone else has', () => {
    const { peak, gradient, logits } = run(true);
    expect(peak).toBeGreaterThan(2);
    const expected = onBackend('native', () => {
      const x = tf.tensor(values(tokens * width, 1), [tokens, width]);
      return linear(x, tf.tensor(values(classes * width, 2), [classes, width])).dataSync();
    });
    expectClose(logits as Float32Array, expected, 0);
    expectClose(run(false).gradient, gradient, 0);
  });

  it('leaves logits alone that JavaScript has a view of', () => {
    const device = addon();
    const upload = (numbers: number[]): number => device.uploadFloats(Float32Array.from(numbers), 0);
    const [logits, one] = [upload([1, 2, 3, 4]), upload([1])];
    const targets = device.uploadIntegers(Int32Array.of(0, 1));
    const [lossHandle, logSumExp] = device.crossEntropy(logits, targets, -100, 2);
    const view = device.view(logits);
    const apart = device.crossEntropyGrad(one, logits, targets, logSumExp, -100, 2, true);
    expect(apart).not.toBe(logits);
    expect([...view]).toEqual([1, 2, 3, 4]);
    const other = upload([1, 2, 3, 4]);
    const inPlace = device.crossEntropyGrad(one, other, targets, logSumExp, -100, 2, true);
    expect(inPlace).toBe(other);
    expect(device.read(inPlace)).toEqual(device.read(apart));
    for (const handle of [logits, one, targets, lossHandle, logSumExp, apart, other]) device.free(handle);
  });
});

import { tf, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, it } from 'vitest';
import { storageCodes } from '../addon.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { compareWithComposite } from './composite.testing.ts';

const apply = ([x]: Tensor[]): Tensor => tf.softmax(tf.mul(x as Tensor, 9));

describe.skipIf(!nativeIsBuilt)('softmax on native', () => {
  beforeAll(activateNative);

  it("equals tfjs's on its CPU backend, with its gradient, at any size", () => {
    const shape = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(shape, (shape) => compareWithComposite([{ shape }], apply)),
      { numRuns: 40 },
    );
  });

  it('is right for rows that are cut into pieces', () => {
    compareWithComposite([{ shape: [2, 50_001] }], apply);
  });

  it('stores its output as the activations', () => {
    compareWithComposite([{ shape: [5, 33] }], ([x]) => tf.softmax(x as Tensor), {
      storage: storageCodes.float16,
      tolerance: 2e-3,
    });
  });
});

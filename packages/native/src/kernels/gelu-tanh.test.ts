import { geluTanh, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, it } from 'vitest';
import { storageCodes } from '../addon.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { compareWithComposite } from './composite.testing.ts';

const apply = ([x]: Tensor[]): Tensor => geluTanh(x as Tensor);

describe.skipIf(!nativeIsBuilt)('GeluTanh on native', () => {
  beforeAll(activateNative);

  it("equals the composite on tfjs's CPU backend, with its gradient, also far from zero", () => {
    const value = fc.double({ min: -90, max: 90, noNaN: true });
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 100 }), (data) =>
        compareWithComposite([{ shape: [data.length], data }], apply, { tolerance: 1e-6 }),
      ),
    );
  });

  it.each([1, 7, 33, 1023])('is right for %i tokens', (tokens) => {
    compareWithComposite([{ shape: [1, tokens, 64] }], apply, { tolerance: 1e-6 });
  });

  it.each([
    ['float16', 1e-3],
    ['bfloat16', 1e-2],
  ] as const)('stores its output as %s', (storage, tolerance) => {
    compareWithComposite([{ shape: [5, 33] }], apply, { storage: storageCodes[storage], tolerance });
  });
});

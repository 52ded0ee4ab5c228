import { layerNorm, type Tensor } from '@tensorloom/core';
import fc from 'fast-check';
import { beforeAll, describe, it } from 'vitest';
import { storageCodes } from '../addon.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';
import { compareWithComposite } from './composite.testing.ts';

const operands = (lead: readonly number[], width: number): { shape: number[] }[] => [
  { shape: [...lead, width] },
  { shape: [width] },
  { shape: [width] },
];
const apply = ([x, weight, bias]: Tensor[]): Tensor => layerNorm(x as Tensor, weight as Tensor, bias as Tensor);

describe.skipIf(!nativeIsBuilt)('LayerNorm on native', () => {
  beforeAll(activateNative);

  it("equals the composite on tfjs's CPU backend, with its gradients, at any size", () => {
    const lead = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 2 });
    fc.assert(
      fc.property(lead, fc.integer({ min: 2, max: 70 }), (lead, width) =>
        compareWithComposite(operands(lead, width), apply),
      ),
      { numRuns: 40 },
    );
  });

  it.each([1, 7, 33, 1023])('is right for %i tokens', (tokens) => {
    compareWithComposite(operands([1, tokens], 64), apply);
  });

  it.each([
    ['float16', 2e-3],
    ['bfloat16', 2e-2],
  ] as const)('stores its output as %s', (storage, tolerance) => {
    compareWithComposite(operands([5], 33), apply, { storage: storageCodes[storage], tolerance });
  });
});

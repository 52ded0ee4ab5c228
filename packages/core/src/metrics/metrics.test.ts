import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../autograd/backends.testing.ts';
import { Fabric } from '../fabric/fabric.ts';
import { tf } from '../tensors.ts';
import { Accuracy } from './accuracy.ts';
import { Mean, Perplexity } from './mean.ts';

describe('metrics', () => {
  beforeAll(() => useBackend('cpu'));

  it('Accuracy counts the largest logit, or given classes, over all batches; ignored labels do not count', () => {
    const accuracy = new Accuracy();
    expect(accuracy.compute()).toBeNaN();
    tf.tidy(() => accuracy.update(tf.tensor2d([0.1, 0.9, 2, -1, 0, 1], [3, 2]), tf.tensor1d([1, 1, -100], 'int32')));
    expect(accuracy.compute()).toBe(0.5);
    accuracy.update([3, 4, 5, 6], [3, 4, 5, 0]);
    expect(accuracy.compute()).toBe(4 / 6);
    accuracy.reset();
    expect(accuracy.compute()).toBeNaN();
    expect(() => accuracy.update([1], [1, 2])).toThrow(/1 predictions and 2 labels/);
  });

  it('Mean weighs by items; an empty batch weighs nothing', () => {
    const mean = new Mean();
    mean.update(1, 3);
    mean.update(5);
    mean.update(NaN, 0);
    expect(mean.compute()).toBe(2);
  });

  it('Perplexity is exp of the mean over all tokens, not the mean of exps', () => {
    const perplexity = new Perplexity();
    perplexity.update(Math.log(2), 1);
    perplexity.update(Math.log(16), 3);
    expect(perplexity.compute()).toBeCloseTo(2 ** (13 / 4), 12);
  });

  it('add up over ranks to what one rank would have', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ value: fc.integer({ min: -50, max: 50 }), weight: fc.nat(9), rank: fc.nat(1) }), {
          minLength: 1,
        }),
        async (updates) => {
          const whole = new Mean();
          const [own, other] = [new Mean(), new Mean()];
          for (const { value, weight, rank } of updates)
            for (const mean of [whole, rank === 0 ? own : other]) mean.update(value, weight);
          const others = other.stateDict().values['sums'] as number[];
          await own.merge({
            allReduce: (sums, op) => Promise.resolve(op === 'sum' ? sums.map((sum, i) => sum + others[i]!) : []),
          });
          expect(own.compute()).toBe(whole.compute());
        },
      ),
    ));

  it('with one rank are through Fabric what they were', async () => {
    const fabric = new Fabric({ accelerator: 'cpu' });
    await fabric.launch();
    const accuracy = new Accuracy();
    accuracy.update([1, 2], [1, 1]);
    await accuracy.merge(fabric);
    expect(accuracy.compute()).toBe(0.5);
  });

  it('go on from their state and refuse one of another kind', () => {
    const [first, second] = [new Accuracy(), new Accuracy()];
    first.update([1, 2], [1, 1]);
    second.loadStateDict({ tensors: new Map(), values: first.stateDict().values });
    second.update([1, 1], [1, 1]);
    expect(second.compute()).toBe(0.75);
    expect(() => second.loadStateDict({ tensors: new Map(), values: { sums: [1] } })).toThrow(/expected 2 sums/);
  });
});

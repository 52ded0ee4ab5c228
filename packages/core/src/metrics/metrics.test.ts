import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../autograd/backends.testing.ts';
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
      fc.property(
        fc.array(fc.record({ value: fc.integer({ min: -50, max: 50 }), weight: fc.nat(9), rank: fc.nat(2) }), {
          minLength: 1,
        }),
        (updates) => {
          const whole = new Mean();
          const ranks = [new Mean(), new Mean(), new Mean()] as const;
          for (const { value, weight, rank } of updates) {
            whole.update(value, weight);
            ranks[rank as 0].update(value, weight);
          }
          const merged = ranks[0].state();
          for (const { state } of [ranks[1], ranks[2]].map((r) => ({ state: r.state() })))
            for (const i of merged.keys()) merged[i]! += state[i]!;
          expect(ranks[0].compute()).toBe(whole.compute());
        },
      ),
    ));

  it('go on from their state and refuse one of another kind', () => {
    const [first, second] = [new Accuracy(), new Accuracy()];
    first.update([1, 2], [1, 1]);
    second.loadStateDict({ tensors: new Map(), values: first.stateDict().values });
    second.update([1, 1], [1, 1]);
    expect(second.compute()).toBe(0.75);
    expect(() => second.loadStateDict({ tensors: new Map(), values: { sums: [1] } })).toThrow(/expected 2 sums/);
  });
});

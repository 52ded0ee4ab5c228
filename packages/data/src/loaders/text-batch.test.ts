import { describe, expect, it } from 'vitest';
import { TokenizedSplit } from '../tokenization/tokenized-split.ts';
import { textCollator, type TextBatch } from './text-batch.ts';
import { createTextLoader } from './text-loader.ts';

const texts = [
  { ids: [5, 6, 7], label: 1 },
  { ids: [8], label: 0 },
];
const ids = (batch: TextBatch): number[] => Array.from(batch.inputIds.data);
const mask = (batch: TextBatch): number[] => Array.from(batch.attentionMask.data);

describe('textCollator', () => {
  it('pads on the right to the longest of the batch', () => {
    const batch = textCollator({ padId: 3 })(texts);
    expect(batch.inputIds.shape).toEqual([2, 3]);
    expect(ids(batch)).toEqual([5, 6, 7, 8, 3, 3]);
    expect(mask(batch)).toEqual([1, 1, 1, 1, 0, 0]);
    expect(batch.inputIds.dtype).toBe('int32');
    expect(batch.labels.dtype).toBe('int32');
    expect(Array.from(batch.labels.data)).toEqual([1, 0]);
    expect(batch).toMatchObject({ items: 2, tokens: 4 });
  });

  it('pads on the left when asked', () => {
    const batch = textCollator({ padId: 3, paddingSide: 'left' })(texts);
    expect(ids(batch)).toEqual([5, 6, 7, 3, 3, 8]);
    expect(mask(batch)).toEqual([1, 1, 1, 0, 0, 1]);
  });

  it('pads every batch to maxLength with padding max', () => {
    const batch = textCollator({ padId: 0, padding: 'max', maxLength: 5 })(texts);
    expect(batch.inputIds.shape).toEqual([2, 5]);
    expect(batch.tokens).toBe(4);
    expect(() => textCollator({ padId: 0, padding: 'max' })).toThrow(/needs maxLength/);
  });

  it('keeps the first maxLength tokens', () => {
    expect(ids(textCollator({ padId: 0, maxLength: 2 })(texts))).toEqual([5, 6, 8, 0]);
  });

  it('gives a text without tokens one token to pool at', () => {
    const batch = textCollator({ padId: 3 })([{ ids: [], label: 0 }, ...texts]);
    expect(mask(batch).slice(0, 3)).toEqual([1, 0, 0]);
    expect(batch.tokens).toBe(5);
  });

  it('has float labels for regression', () => {
    const batch = textCollator({ padId: 0, task: 'regression' })([{ ids: [1], label: 2.5 }]);
    expect(batch.labels.dtype).toBe('float32');
    expect(batch.labels.data[0]).toBe(2.5);
  });
});

describe('createTextLoader', () => {
  const split = new TokenizedSplit(Uint16Array.of(1, 2, 3, 4, 5, 6), Int32Array.of(0, 1, 4, 6), Int32Array.of(0, 1, 0));

  it.each([
    ['from the longest to the shortest', 2, true, [2, 3, 4, 5, 6, 0, 1]],
    ['in order without bucketing', 2, false, [1, 0, 0, 2, 3, 4, 5, 6]],
    ['in order with batches of one', 1, true, [1, 2, 3, 4, 5, 6]],
  ])('evaluates %s', async (_, batchSize, bucketing, expected) => {
    const seen: number[] = [];
    for await (const batch of createTextLoader(split, { batchSize, bucketing, padId: 0 })) seen.push(...ids(batch));
    expect(seen).toEqual(expected);
  });

  it.each([true, false])('trains on every text once (bucketing %s)', async (bucketing) => {
    const labels: number[] = [];
    let tokens = 0;
    for await (const batch of createTextLoader(split, { batchSize: 1, padId: 0, training: true, bucketing })) {
      labels.push(...batch.labels.data);
      tokens += batch.tokens;
    }
    expect(labels.sort()).toEqual([0, 0, 1]);
    expect(tokens).toBe(6);
  });

  it('takes the first texts of a split', () => {
    expect(split.take(2).length).toBe(2);
    expect(Array.from(split.take(2).get(1).ids)).toEqual([2, 3, 4]);
    expect(split.take(9).length).toBe(3);
    expect(() => split.take(2).get(2)).toThrow(/index 2/);
  });
});

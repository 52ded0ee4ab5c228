import { expect, test } from 'vitest';
import { runLength } from './run-length.ts';

test('an epoch whose last window is short has a step for it', () => {
  expect(runLength(10, { accumulate: 4, epochs: 2 })).toEqual({ steps: 6, microBatches: 20 });
});
test('max steps ends within an epoch, at the end of a window', () => {
  expect(runLength(10, { accumulate: 4, epochs: 2, maxSteps: 4 })).toEqual({ steps: 4, microBatches: 14 });
  expect(runLength(10, { accumulate: 4, epochs: 2, maxSteps: 3 })).toEqual({ steps: 3, microBatches: 10 });
});
test('max steps beyond the epochs changes nothing', () => {
  expect(runLength(10, { accumulate: 1, epochs: 1, maxSteps: 99 })).toEqual({ steps: 10, microBatches: 10 });
});

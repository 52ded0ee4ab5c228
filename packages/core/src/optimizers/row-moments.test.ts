import { expect, it } from 'vitest';
import { RowMoments } from './row-moments.ts';

it('gradients with elements that an int32 cannot number are refused', () => {
  // No moments, so that nothing of that size is allocated.
  const moments = new RowMoments(3, 2 ** 30, 0);
  const rows = Int32Array.of(0, 1, 2);
  moments.visit(rows);
  expect([...moments.gradientOffsets(rows.subarray(1))]).toEqual([-1, 0, 2 ** 30]);
  expect(() => moments.gradientOffsets(rows)).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('3 rows of 1073741824') }),
  );
});

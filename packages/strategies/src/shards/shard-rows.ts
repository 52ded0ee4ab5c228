/** Which rows of a parameter each rank keeps: equal parts along the first dimension, the last ones smaller or empty. */

/** Rows `firstRow` to `firstRow + rows`. */
export interface ShardRows {
  readonly firstRow: number;
  readonly rows: number;
}

/**
 * Rank r of W keeps rows `[r * ceil(n / W), min(n, (r + 1) * ceil(n / W)))`, possibly none.
 * @param numRows the first dimension; 1 for scalars
 */
export function shardRows(numRows: number, rank: number, worldSize: number): ShardRows {
  const part = Math.ceil(numRows / worldSize);
  const firstRow = Math.min(numRows, rank * part);
  return { firstRow, rows: Math.min(numRows, firstRow + part) - firstRow };
}

/** First dimension of a shape; a scalar is one row. */
export function rowsOf(shape: readonly number[]): number {
  return shape[0] ?? 1;
}

/** Elements in a row. */
export function rowSize(shape: readonly number[]): number {
  return shape.slice(1).reduce((product, n) => product * n, 1);
}

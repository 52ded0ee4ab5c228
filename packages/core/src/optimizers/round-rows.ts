/** Rounds rows of a table in host memory to a half-precision storage: tables stay arrays of float32 there, with values that halves can have. */
import type { FloatStorage } from '../accelerators/accelerator.ts';
import { roundToFloat16 } from '../checkpoints/half.ts';

/** Between these float16's numbers are as float32's with the last 13 bits zero. */
const smallestNormal = 2 ** -14;
const overflows = 65520;

/** @param rows null for all of them */
export function roundRows(table: Float32Array, width: number, rows: Int32Array | null, storage: FloatStorage): void {
  const round = rounding(storage);
  if (round === null) return;
  if (rows === null) round(table);
  else for (const row of rows) round(table.subarray(row * width, (row + 1) * width));
}

function rounding(storage: FloatStorage): ((values: Float32Array) => void) | null {
  if (storage === 'float16') return roundAllToFloat16;
  return storage === 'bfloat16' ? (values) => dropBits(values, 16) : null;
}

function roundAllToFloat16(values: Float32Array): void {
  const others: [place: number, value: number][] = [];
  for (const [i, value] of values.entries()) {
    const size = Math.abs(value);
    if (!(size >= smallestNormal && size < overflows)) others.push([i, roundToFloat16(value)]);
  }
  dropBits(values, 13);
  for (const [i, value] of others) values[i] = value;
}

/** To the nearest number whose last `count` bits are zero, ties to even. NaN stays NaN. */
function dropBits(values: Float32Array, count: number): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const half = 2 ** (count - 1) - 1;
  const kept = -(2 ** count);
  for (const [i, value] of values.entries())
    if (Number.isFinite(value)) {
      const own = bits[i] as number;
      bits[i] = (own + half + ((own >>> count) & 1)) & kept;
    }
}

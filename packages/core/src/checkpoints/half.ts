/** Conversions between the 16-bit float formats and float32, exact in both directions up to rounding to nearest even. */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** IEEE 754 binary16 bits → float32 value; subnormals, infinities and NaN included. */
export function float16ToNumber(half: number): number {
  const sign = (half & 0x8000) === 0 ? 1 : -1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** bfloat16 bits → float32 value. */
export function bfloat16ToNumber(half: number): number {
  bits[0] = half << 16;
  return float[0]!;
}

/** `value` rounded to the nearest binary16 (ties to even), as a float32; beyond ±65504 (to rounding) infinite. */
export function roundToFloat16(value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  const size = Math.abs(value);
  if (size >= 65520) return value > 0 ? Infinity : -Infinity;
  // The spacing of halves around `value`; below 2^-14 they are subnormal.
  const step = 2 ** (Math.max(Math.floor(Math.log2(size)), -14) - 10);
  return roundToEven(value / step) * step;
}

/** `value` rounded to the nearest bfloat16 (ties to even), as a float32. */
export function roundToBfloat16(value: number): number {
  if (!Number.isFinite(value)) return value;
  float[0] = value;
  bits[0] = ((bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000) >>> 0;
  return float[0];
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Half-precision numbers by their bit patterns: decoding by table, encoding with rounding to nearest even. */

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

export interface HalfFormat {
  /** Exact. */
  readonly table: Float32Array;
  readonly decode: (pattern: number) => number;
  /** Of the float32 nearest to `value`: rounds to nearest, ties to even; NaN stays NaN, too large becomes infinite. */
  readonly encode: (value: number) => number;
}

/** 1 sign bit, 5 of exponent, 10 of mantissa (IEEE 754 binary16). */
export function encodeFloat16(value: number): number {
  word[0] = value;
  const x = bits[0]!;
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  // From 65520 on, the nearest is infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000;
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  // Subnormal: adding 0.5 moves the mantissa's end to 2**-24, and the float32 addition rounds it as is wanted.
  word[0] = Math.abs(word[0]) + 0.5;
  return sign | (bits[0]! - 0x3f000000);
}

/** The upper half of a float32. */
export function encodeBFloat16(value: number): number {
  word[0] = value;
  const x = bits[0]!;
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | 0x40;
  return (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
}

function decodeFloat16(pattern: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >> 10) & 31;
  const mantissa = pattern & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

function decodeBFloat16(pattern: number): number {
  bits[0] = pattern << 16;
  return word[0]!;
}

function lazily(decodeOne: (pattern: number) => number, encode: (value: number) => number): HalfFormat {
  let table: Float32Array | undefined;
  return {
    get table() {
      return (table ??= Float32Array.from({ length: 65536 }, (_, pattern) => decodeOne(pattern)));
    },
    decode: decodeOne,
    encode,
  };
}

export const halves = {
  float16: lazily(decodeFloat16, encodeFloat16),
  bfloat16: lazily(decodeBFloat16, encodeBFloat16),
} as const;

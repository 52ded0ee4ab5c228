/** One loop for each array class and operation: a loop that has seen two classes is several times slower. Unrolled, which V8 does not do. */

export type Loop<A> = (target: A, source: A, length: number) => void;

function sumFloat32(t: Float32Array, s: Float32Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i]! += s[i]!;
    t[i + 1]! += s[i + 1]!;
    t[i + 2]! += s[i + 2]!;
    t[i + 3]! += s[i + 3]!;
  }
  for (; i < n; i++) t[i]! += s[i]!;
}

function productFloat32(t: Float32Array, s: Float32Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i]! *= s[i]!;
    t[i + 1]! *= s[i + 1]!;
    t[i + 2]! *= s[i + 2]!;
    t[i + 3]! *= s[i + 3]!;
  }
  for (; i < n; i++) t[i]! *= s[i]!;
}

function maxFloat32(t: Float32Array, s: Float32Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.max(t[i]!, s[i]!);
    t[i + 1] = Math.max(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.max(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.max(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.max(t[i]!, s[i]!);
}

function minFloat32(t: Float32Array, s: Float32Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.min(t[i]!, s[i]!);
    t[i + 1] = Math.min(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.min(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.min(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.min(t[i]!, s[i]!);
}

function sumFloat64(t: Float64Array, s: Float64Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i]! += s[i]!;
    t[i + 1]! += s[i + 1]!;
    t[i + 2]! += s[i + 2]!;
    t[i + 3]! += s[i + 3]!;
  }
  for (; i < n; i++) t[i]! += s[i]!;
}

function productFloat64(t: Float64Array, s: Float64Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i]! *= s[i]!;
    t[i + 1]! *= s[i + 1]!;
    t[i + 2]! *= s[i + 2]!;
    t[i + 3]! *= s[i + 3]!;
  }
  for (; i < n; i++) t[i]! *= s[i]!;
}

function maxFloat64(t: Float64Array, s: Float64Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.max(t[i]!, s[i]!);
    t[i + 1] = Math.max(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.max(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.max(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.max(t[i]!, s[i]!);
}

function minFloat64(t: Float64Array, s: Float64Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.min(t[i]!, s[i]!);
    t[i + 1] = Math.min(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.min(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.min(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.min(t[i]!, s[i]!);
}

function sumInt32(t: Int32Array, s: Int32Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i]! += s[i]!;
    t[i + 1]! += s[i + 1]!;
    t[i + 2]! += s[i + 2]!;
    t[i + 3]! += s[i + 3]!;
  }
  for (; i < n; i++) t[i]! += s[i]!;
}

function productInt32(t: Int32Array, s: Int32Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.imul(t[i]!, s[i]!);
    t[i + 1] = Math.imul(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.imul(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.imul(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.imul(t[i]!, s[i]!);
}

function maxInt32(t: Int32Array, s: Int32Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.max(t[i]!, s[i]!);
    t[i + 1] = Math.max(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.max(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.max(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.max(t[i]!, s[i]!);
}

function minInt32(t: Int32Array, s: Int32Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.min(t[i]!, s[i]!);
    t[i + 1] = Math.min(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.min(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.min(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.min(t[i]!, s[i]!);
}

function sumUint8(t: Uint8Array, s: Uint8Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i]! += s[i]!;
    t[i + 1]! += s[i + 1]!;
    t[i + 2]! += s[i + 2]!;
    t[i + 3]! += s[i + 3]!;
  }
  for (; i < n; i++) t[i]! += s[i]!;
}

function productUint8(t: Uint8Array, s: Uint8Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.imul(t[i]!, s[i]!);
    t[i + 1] = Math.imul(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.imul(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.imul(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.imul(t[i]!, s[i]!);
}

function maxUint8(t: Uint8Array, s: Uint8Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.max(t[i]!, s[i]!);
    t[i + 1] = Math.max(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.max(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.max(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.max(t[i]!, s[i]!);
}

function minUint8(t: Uint8Array, s: Uint8Array, n: number): void {
  let i = 0;
  for (; i + 3 < n; i += 4) {
    t[i] = Math.min(t[i]!, s[i]!);
    t[i + 1] = Math.min(t[i + 1]!, s[i + 1]!);
    t[i + 2] = Math.min(t[i + 2]!, s[i + 2]!);
    t[i + 3] = Math.min(t[i + 3]!, s[i + 3]!);
  }
  for (; i < n; i++) t[i] = Math.min(t[i]!, s[i]!);
}

/** Whole numbers wrap around, as in C. */
export const loops = {
  float32: { sum: sumFloat32, product: productFloat32, max: maxFloat32, min: minFloat32 },
  float64: { sum: sumFloat64, product: productFloat64, max: maxFloat64, min: minFloat64 },
  int32: { sum: sumInt32, product: productInt32, max: maxInt32, min: minInt32 },
  uint8: { sum: sumUint8, product: productUint8, max: maxUint8, min: minUint8 },
} as const;

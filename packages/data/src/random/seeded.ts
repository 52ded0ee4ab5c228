/** Seeded randomness of this package: the same numbers on every machine, from a seed and any number of streams (epoch, purpose). */
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

/** A generator for `seed` mixed with `streams`: neighbouring seeds and epochs give unrelated sequences. */
export function seededGenerator(seed: number, ...streams: number[]): RandomGenerator {
  let mixed = mix(seed | 0) ^ mix(Math.floor(seed / 2 ** 32) | 0);
  for (const stream of streams) mixed = mix(mixed ^ mix((stream | 0) + 0x9e3779b9));
  return xoroshiro128plus(mixed);
}

/** Shuffles `values` in place (Fisher and Yates) and returns it. */
export function shuffle<T extends { length: number; [index: number]: unknown }>(
  values: T,
  generator: RandomGenerator,
): T {
  for (let i = values.length - 1; i > 0; i--) {
    const j = uniformInt(generator, 0, i);
    const swapped = values[i];
    values[i] = values[j];
    values[j] = swapped;
  }
  return values;
}

/** 0..length-1 as an Int32Array. */
export function range(length: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => i);
}

// The finalizer of MurmurHash3: a bijection of 32-bit integers whose every output bit depends on every input bit.
function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

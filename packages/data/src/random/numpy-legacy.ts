/** NumPy's legacy `RandomState(seed).permutation(n)`, number for number: published partitions are defined by it. */
import { mersenne } from 'pure-rand/generator/mersenne';

/**
 * The permutation that `numpy.random.RandomState(seed).permutation(length)` gives, and so also the row order of
 * `pandas.DataFrame.sample(frac=1, random_state=seed)`. MT19937 seeded with `init_genrand`; Fisher and Yates from the end, each
 * draw by masked rejection on 32-bit outputs (numpy/random/mtrand.pyx, `random_interval`).
 * @param seed 0..2^32-1
 */
export function legacyPermutation(seed: number, length: number): Int32Array {
  const generator = mersenne(seed | 0);
  const order = Int32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const mask = 2 ** (32 - Math.clz32(i)) - 1;
    let j = (generator.next() & mask) >>> 0;
    while (j > i) j = (generator.next() & mask) >>> 0;
    const swapped = order[i] as number;
    order[i] = order[j] as number;
    order[j] = swapped;
  }
  return order;
}

/** ALiBi slopes (Press, Smith, Lewis 2022, https://arxiv.org/abs/2108.12409). */

/**
 * One slope per head. For a power of two the geometric sequence that starts at 2^(-8/heads); for other head counts the
 * sequence of the next lower power of two, then every other slope of the next higher one (as transformers has it).
 */
export function alibiSlopes(numHeads: number): Float32Array {
  const lower = 2 ** Math.floor(Math.log2(numHeads));
  const base = Math.fround(2 ** (-8 / lower));
  const extraBase = Math.fround(2 ** (-8 / (2 * lower)));
  return Float32Array.from({ length: numHeads }, (_, head) =>
    head < lower ? base ** (head + 1) : extraBase ** (2 * (head - lower) + 1),
  );
}

/** Batches that both sides of the bench train on: token ids spread as in text (a few very common, many rare), always the same. */

/** A small generator of numbers in [0, 1) (mulberry32), seeded so that every run has the same batches. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Ids whose frequency falls with their rank as 1/rank (Zipf's law); none is the padding id 3.
 * @returns {{inputIds: number[][], labels: number[]}[]} `count` batches of [batchSize, tokens]
 */
export function makeBatches({ count, batchSize, tokens, vocabularySize, seed = 123 }) {
  const random = generator(seed);
  const id = () => {
    const rank = Math.floor(Math.exp(random() * Math.log(vocabularySize - 4)));
    return Math.min(vocabularySize - 1, 3 + rank);
  };
  return Array.from({ length: count }, () => ({
    inputIds: Array.from({ length: batchSize }, () => Array.from({ length: tokens }, id)),
    labels: Array.from({ length: batchSize }, () => (random() < 0.5 ? 0 : 1)),
  }));
}

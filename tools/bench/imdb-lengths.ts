/**
 * Lengths in tokens of IMDB's training reviews under the blog's recipe (our tokenizer of 8,192 pieces, whose texts are rather longer than those of
 * BLOOM's own, and 1,024 tokens at most), as a JSON line:
 *
 *     imdb-lengths.ts ACLIMDB COUNT        COUNT lengths, evenly spaced among all of them in order of length, and the number of reviews
 */
import { bloomTokenizerFor, openTextSource, prepareTextData } from '@tensorloom/data';

const [path, countText] = process.argv.slice(2);
const count = Number(countText);
if (path === undefined || !(count >= 1)) throw new Error('usage: imdb-lengths.ts ACLIMDB COUNT');
const source = await openTextSource('imdb', { dataPath: path, split: 'blog' });
const tokenizer = await bloomTokenizerFor(source);
const { train } = await prepareTextData({ source, tokenizer, maxLength: 1024 });
const sorted = [...train.lengths()].sort((a, b) => a - b);
const lengths = Array.from(
  { length: count },
  (_, i) => sorted[Math.floor(((i + 0.5) / count) * sorted.length)] as number,
);
const mean = sorted.reduce((sum, length) => sum + length, 0) / sorted.length;
process.stdout.write(`${JSON.stringify({ reviews: sorted.length, mean, lengths })}\n`);

/** Runs a tokenizer case: every row must give the very ids, and decode to the very text. */
import { Tokenizer } from '@tensorloom/data';
import { Comparison, type Check } from './comparison.ts';
import type { TokenizerCase } from './reference-folder.ts';

/** Errors count rows that differ (bound: none). */
export async function runTokenizerCase(read: TokenizerCase): Promise<Check[]> {
  const tokenizer = await Tokenizer.fromFile(read.tokenizerFile);
  const encoded = await tokenizer.encodeBatch(read.rows.map((row) => row.text));
  const wrongIds = read.rows.flatMap((row, index) => (encoded[index]?.join() === row.ids.join() ? [] : [index]));
  const wrongTexts: number[] = [];
  for (const [index, row] of read.rows.entries())
    if (row.decoded !== undefined && (await tokenizer.decode(row.ids)) !== row.decoded) wrongTexts.push(index);
  return [
    countWrong(read, 'ids, rows that differ', wrongIds),
    countWrong(read, 'decoded, rows that differ', wrongTexts),
  ].flatMap((check) => check ?? []);
}

function countWrong(read: TokenizerCase, what: string, rows: readonly number[]): Check | undefined {
  const comparison = new Comparison(read.name, `${what} (of ${read.rows.length})`);
  comparison.value(
    rows.length === 0 ? 'rows' : `rows ${rows.slice(0, 10).join(', ')}${rows.length > 10 ? ', …' : ''}`,
    rows.length,
    0,
    0,
  );
  return comparison.check();
}

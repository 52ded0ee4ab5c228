/** Lines of a rank on a shared stream. */
import { expect, it } from 'vitest';
import { Captured } from './launch.testing.ts';
import { PrefixedLines } from './prefixed-lines.ts';

async function prefixed(...chunks: (string | Buffer)[]): Promise<string> {
  const target = new Captured();
  const lines = new PrefixedLines('> ', target);
  for (const chunk of chunks) lines.write(chunk);
  await new Promise<void>((resolve) => lines.end(resolve));
  return target.text;
}

it('joins what belongs to one line, whatever chunks it comes in', async () => {
  expect(await prefixed('a', 'b\nc', '\n\nd\n')).toBe('> ab\n> c\n> \n> d\n');
});

it('joins characters that were cut apart', async () => {
  const bytes = Buffer.from('ä€\n');
  expect(await prefixed(bytes.subarray(0, 1), bytes.subarray(1, 3), bytes.subarray(3))).toBe('> ä€\n');
});

it('ends the last line', async () => {
  expect(await prefixed('end')).toBe('> end\n');
  expect(await prefixed()).toBe('');
});

it('cuts lines that never end', async () => {
  const text = await prefixed('x'.repeat(2_500_000));
  expect(text.split('\n').map((line) => line.length)).toEqual([1_048_578, 1_048_578, 402_850, 0]);
});

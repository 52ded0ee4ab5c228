import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { linesAsTheyCome } from './lines-as-they-come.ts';

async function allOf(batches: AsyncIterable<string[]>): Promise<string[][]> {
  const all: string[][] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

describe('lines as they come', () => {
  it('hands over a line before the next one is there', async () => {
    const stream = new PassThrough();
    const batches = linesAsTheyCome(stream, 32);
    stream.write('first\n');
    expect((await batches.next()).value).toEqual(['first']);
    stream.write('second\nthird\n');
    expect((await batches.next()).value).toEqual(['second', 'third']);
    stream.end();
    expect((await batches.next()).done).toBe(true);
  });

  it('loses no line of a long stream and makes no batch larger than asked', async () => {
    const stream = new PassThrough();
    const expected = Array.from({ length: 10_000 }, (_, i) => `line ${i}`);
    stream.end(expected.join('\r\n'));
    const batches = await allOf(linesAsTheyCome(stream, 7));
    expect(batches.flat()).toEqual(expected);
    expect(Math.max(...batches.map((batch) => batch.length))).toBeLessThanOrEqual(7);
  });

  it('ends at once where there is nothing', async () => {
    const stream = new PassThrough();
    stream.end();
    expect(await allOf(linesAsTheyCome(stream, 4))).toEqual([]);
  });
});

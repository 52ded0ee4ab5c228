/** Trains tokenizers (in child processes, as the library demands). */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openQuickstart } from '../sources/quickstart.ts';
import { temporaryFolders } from '../testing/temporary-folder.testing.ts';
import { bloomTokenizerFor, trainBloomTokenizer } from './bloom-tokenizer.ts';

const folder = temporaryFolders();
const reference = JSON.parse(readFileSync(new URL('../fixtures/tokenizer.json', import.meta.url), 'utf8')) as Record<
  string,
  unknown
>;
const awkward = [
  '',
  ' ',
  '\n',
  '\t\ttabs\t',
  'Ünïcödé — “quotes” …',
  '日本語。、',
  'हिन्दी',
  '🎬🍿👨‍👩‍👧',
  '\u0000\u0001',
  '\ufeffbom',
  'line\r\ncrlf',
  '\u{10ffff}',
  'x'.repeat(300),
];

describe('trainBloomTokenizer', () => {
  it('gives exactly the vocabulary asked, special tokens first, in the shape of the reference', async () => {
    const { train } = await (await openQuickstart()).read();
    const tokenizer = await trainBloomTokenizer(train.texts, { vocabSize: 1500 });
    expect(tokenizer.vocabSize).toBe(1500);
    expect(['<unk>', '<s>', '</s>', '<pad>'].map((token) => tokenizer.tokenToId(token))).toEqual([0, 1, 2, 3]);
    expect(tokenizer.padId).toBe(3);
    const json = JSON.parse(tokenizer.toJson()) as { model: { vocab: Record<string, number>; merges: unknown[] } };
    expect(Object.keys(json)).toEqual(Object.keys(reference));
    expect({ ...json, model: null }).toEqual({ ...reference, model: null });
    expect(Object.keys(json.model)).toEqual(Object.keys(reference.model as object));
    expect(Object.values(json.model.vocab).sort((a, b) => a - b)).toEqual(Array.from({ length: 1500 }, (_, i) => i));
  });

  it('brings every string back', async () => {
    const { train } = await (await openQuickstart()).read();
    const tokenizer = await trainBloomTokenizer(train.texts.slice(0, 200), { vocabSize: 400 });
    const roundTrip = async (text: string): Promise<void> => {
      expect(await tokenizer.decode(await tokenizer.encode(text))).toBe(text);
    };
    for (const text of awkward) await roundTrip(text);
    // The special tokens are found in texts too (as in the reference), and come back as they are.
    await fc.assert(fc.asyncProperty(fc.string({ unit: 'grapheme' }), roundTrip));
  });

  it('gives the same for the same texts; a smaller vocabulary is the beginning of a larger', async () => {
    const texts = ['the cat sat on the mat.', 'the dog sat on the log.', 'cats and dogs; 12 cats, 12 dogs'];
    const [first, second, smaller] = await Promise.all(
      [280, 280, 270].map((vocabSize) => trainBloomTokenizer(texts, { vocabSize })),
    );
    expect(second?.toJson()).toBe(first?.toJson());
    for (let id = 0; id < 270; id++) expect(await smaller?.decode([id])).toBe(await first?.decode([id]));
    expect(smaller?.vocabSize).toBe(270);
  });

  it('learns merges within a text only, not across texts or line ends', async () => {
    const tokenizer = await trainBloomTokenizer(
      Array.from({ length: 50 }, () => 'good.'),
      { vocabSize: 500 },
    );
    const { merges } = (JSON.parse(tokenizer.toJson()) as { model: { merges: [string, string][] } }).model;
    expect(merges.map(([a, b]) => a + b).filter((token) => token.includes('Ċ'))).toEqual([]);
    expect(Array.from(await tokenizer.encode('good.'))).toHaveLength(2);
    // Such little text has few merges: the vocabulary is as large as it can be.
    expect(tokenizer.vocabSize).toBe(260 + merges.length);
  });

  it('refuses a vocabulary that is too small or too large, and no texts', async () => {
    await expect(trainBloomTokenizer(['a'], { vocabSize: 100 })).rejects.toThrow(/at least 260/);
    const words = Array.from(
      { length: 30_000 },
      (_, i) => ((i * 2_654_435_761) % 2 ** 40).toString(36) + (i * 97).toString(36),
    );
    await expect(trainBloomTokenizer([words.join(' ')], { vocabSize: 40_000 })).rejects.toThrow(
      /vocabSize 40000; the library trains at most 30\d\d\d tokens/,
    );
    await expect(trainBloomTokenizer([])).rejects.toMatchObject({ code: 'BAD_DATA' });
  });
});

describe('bloomTokenizerFor', () => {
  it('trains once, then reads the cache; a damaged file is trained anew', async () => {
    const cacheDir = folder();
    const source = await openQuickstart();
    let reads = 0;
    const counted = { ...source, read: () => (reads++, source.read()) };
    const notes: string[] = [];
    const get = async (): Promise<string> =>
      (await bloomTokenizerFor(counted, { vocabSize: 600, cacheDir, notify: (note) => notes.push(note) })).toJson();
    const first = await get();
    expect(await get()).toBe(first);
    expect(reads).toBe(1);
    const path = join(cacheDir, 'tokenizers', readdirSync(join(cacheDir, 'tokenizers'))[0] as string);
    writeFileSync(path, first.slice(0, 1000));
    expect(await get()).toBe(first);
    expect(notes).toEqual([expect.stringContaining('trained anew')]);
    expect(readFileSync(path, 'utf8')).toBe(first);
  });
});

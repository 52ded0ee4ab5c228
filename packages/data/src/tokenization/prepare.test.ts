import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TextSource } from '../sources/text-splits.ts';
import { temporaryFolders } from '../testing/temporary-folder.testing.ts';
import { prepareTextData, type PrepareOptions } from './prepare.ts';
import { decodeTokenFile, encodeTokenFile } from './token-file.ts';
import { TokenizedSplit, type TextClassificationData } from './tokenized-split.ts';
import { Tokenizer } from './tokenizer.ts';

const folder = temporaryFolders();
const tokenizer = await Tokenizer.fromFile(fileURLToPath(new URL('../fixtures/tokenizer.json', import.meta.url)));

function countingSource(fingerprint = 'v1'): TextSource & { reads: number } {
  const texts = Array.from({ length: 1500 }, (_, i) => `review number ${i} ${'word '.repeat(i % 40)}`);
  const part = (from: number, to: number) => ({
    texts: texts.slice(from, to),
    labels: Int32Array.from({ length: to - from }, (_, i) => i % 2),
  });
  const source = {
    name: 'counting',
    fingerprint,
    reads: 0,
    read: async () => {
      source.reads++;
      return {
        name: 'counting',
        labelNames: ['no', 'yes'],
        task: 'classification' as const,
        train: part(0, 1200),
        validation: part(1200, 1300),
        test: part(1300, 1500),
      };
    },
  };
  return source;
}

describe('prepareTextData', () => {
  it('tokenizes every text in its place, with progress up to the total', async () => {
    const source = countingSource();
    const progress: [number, number][] = [];
    const data = await prepareTextData({
      source,
      tokenizer,
      maxLength: 20,
      cacheDir: false,
      onProgress: (done, total) => progress.push([done, total]),
    });
    const { train } = await source.read();
    for (const i of [0, 511, 512, 1024, 1199]) {
      expect(Array.from(data.train.get(i).ids)).toEqual(
        Array.from(await tokenizer.encode(train.texts[i] as string, { maxLength: 20 })),
      );
      expect(data.train.get(i).label).toBe(i % 2);
    }
    expect(Math.max(...data.train.lengths())).toBe(20);
    expect(progress.at(-1)).toEqual([1500, 1500]);
    expect(progress.map(([done]) => done)).toEqual(progress.map(([done]) => done).sort((a, b) => a - b));
  });

  it('does not read the source again for a second start, and gives the same', async () => {
    const source = countingSource();
    const options: PrepareOptions = { source, tokenizer, maxLength: 20, cacheDir: folder() };
    const first = await prepareTextData(options);
    const second = await prepareTextData({ ...options, onProgress: () => expect.fail('nothing is to be tokenized') });
    expect(source.reads).toBe(1);
    expect(second).toEqual(first);
  });

  it('makes another file for other data, another tokenizer, another length', async () => {
    const cacheDir = folder();
    const other = Tokenizer.fromJson(tokenizer.toJson().replaceAll('<pad>', '<xad>'));
    await prepareTextData({ source: countingSource(), tokenizer, maxLength: 20, cacheDir });
    await prepareTextData({ source: countingSource('v2'), tokenizer, maxLength: 20, cacheDir });
    await prepareTextData({ source: countingSource(), tokenizer: other, maxLength: 20, cacheDir });
    await prepareTextData({ source: countingSource(), tokenizer, maxLength: 21, cacheDir });
    expect(readdirSync(join(cacheDir, 'tokens'))).toHaveLength(4);
  });

  it.each([
    ['cut', (bytes: Buffer) => bytes.subarray(0, bytes.length - 10)],
    ['emptied', () => Buffer.alloc(0)],
    [
      'changed in one bit',
      (bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === bytes.length >> 1 ? byte ^ 1 : byte))),
    ],
  ])('makes a cache file anew that was %s, and says so', async (_, damage: (bytes: Buffer) => Buffer) => {
    const notes: string[] = [];
    const options: PrepareOptions = {
      source: countingSource(),
      tokenizer,
      maxLength: 20,
      cacheDir: folder(),
      notify: (note) => notes.push(note),
    };
    const first = await prepareTextData(options);
    const [name] = readdirSync(join(options.cacheDir as string, 'tokens'));
    const path = join(options.cacheDir as string, 'tokens', name as string);
    const whole = readFileSync(path);
    writeFileSync(path, damage(whole));
    expect(await prepareTextData(options)).toEqual(first);
    expect(notes).toEqual([expect.stringMatching(/is damaged .* made anew/)]);
    expect(readFileSync(path).equals(whole)).toBe(true);
  });

  it('works without a cache that can be written, and says so', async () => {
    const notes: string[] = [];
    const file = join(folder(), 'file');
    writeFileSync(file, 'not a folder');
    const data = await prepareTextData({
      source: countingSource(),
      tokenizer,
      maxLength: 20,
      cacheDir: file,
      notify: (note) => notes.push(note),
    });
    expect(data.train.length).toBe(1200);
    expect(notes).toEqual([expect.stringContaining('not cached')]);
  });
});

describe('the file of tokens', () => {
  const split = fc
    .tuple(fc.array(fc.array(fc.nat({ max: 60_000 }), { maxLength: 9 }), { maxLength: 8 }), fc.boolean(), fc.boolean())
    .map(([texts, wide, real]) => {
      const offsets = Int32Array.from([0, ...texts.map((_, i) => texts.slice(0, i + 1).flat().length)]);
      const labels = texts.map((_, i) => i / 2);
      return new TokenizedSplit(
        wide ? Int32Array.from(texts.flat()) : Uint16Array.from(texts.flat()),
        offsets,
        real ? Float32Array.from(labels) : Int32Array.from(labels),
      );
    });
  const data: fc.Arbitrary<TextClassificationData> = fc.record({
    name: fc.string(),
    labelNames: fc.array(fc.string({ unit: 'grapheme' })),
    task: fc.constantFrom('classification' as const, 'regression' as const),
    train: split,
    validation: split,
    test: split,
  });

  it('gives back what was put in', () => {
    fc.assert(
      fc.property(data, (given) => {
        expect(decodeTokenFile(Buffer.concat(encodeTokenFile(given)))).toEqual(given);
      }),
    );
  });

  it('is refused with any byte changed or any end cut off', () => {
    fc.assert(
      fc.property(data, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, place, change) => {
        const bytes = Buffer.concat(encodeTokenFile(given));
        expect(() => decodeTokenFile(bytes.subarray(0, place % bytes.length))).toThrow(
          expect.objectContaining({ code: 'BAD_FILE' }),
        );
        bytes[place % bytes.length]! ^= change;
        expect(() => decodeTokenFile(bytes)).toThrow(expect.objectContaining({ code: 'BAD_FILE' }));
      }),
    );
  });
});

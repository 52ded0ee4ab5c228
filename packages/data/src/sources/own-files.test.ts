import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolders } from '../testing/temporary-folder.testing.ts';
import { openTextSource, type TextSourceOptions, type TextSplits } from './text-splits.ts';
import './built-in.ts';

const folder = temporaryFolders();

async function fileOf(name: string, content: string, base = folder()): Promise<string> {
  await mkdir(base, { recursive: true });
  await writeFile(join(base, name), content);
  return join(base, name);
}

const read = async (name: string, options: TextSourceOptions): Promise<TextSplits> =>
  (await openTextSource(name, options)).read();
const jsonl = (rows: object[]): string => rows.map((row) => JSON.stringify(row)).join('\n');
const rows = (count: number): { text: string; label: string }[] =>
  Array.from({ length: count }, (_, i) => ({ text: `text ${i}`, label: i % 3 === 0 ? 'rare' : 'common' }));

describe('jsonl', () => {
  it('splits a single file by seed, each label in proportion, no text in two parts', async () => {
    const notes: string[] = [];
    const dataPath = await fileOf('mine.jsonl', `\ufeff${jsonl([...rows(90), ...rows(5)])}\n\n`);
    const splits = await read('jsonl', { dataPath, seed: 1, notify: (note) => notes.push(note) });
    expect(splits.labelNames).toEqual(['common', 'rare']);
    expect(
      [splits.train, splits.validation, splits.test].map(({ texts, labels }) => [
        texts.length,
        labels.filter((label) => label === 1).length,
      ]),
    ).toEqual([
      [72, 24],
      [9, 3],
      [9, 3],
    ]);
    expect(new Set([...splits.train.texts, ...splits.validation.texts, ...splits.test.texts]).size).toBe(90);
    expect(notes).toEqual([expect.stringContaining('left out 5 repeated texts')]);
    expect(await read('jsonl', { dataPath, seed: 1 })).toEqual(splits);
    expect((await read('jsonl', { dataPath, seed: 2 })).test.texts).not.toEqual(splits.test.texts);
    for (const [i, text] of splits.test.texts.entries())
      expect(splits.test.labels[i]).toBe(Number(text.slice(5)) % 3 === 0 ? 1 : 0);
  });

  it('takes a folder with a file for each part, in its order', async () => {
    const base = folder();
    await fileOf(
      'train.jsonl',
      jsonl([
        { text: 'a', label: 10 },
        { text: 'b', label: 9 },
      ]),
      base,
    );
    await fileOf('dev.jsonl', jsonl([{ text: 'c', label: 9 }]), base);
    await fileOf('test.jsonl', jsonl([{ text: 'd', label: '10' }]), base);
    const splits = await read('jsonl', { dataPath: base });
    expect(splits.labelNames).toEqual(['9', '10']);
    expect(splits.train).toEqual({ texts: ['a', 'b'], labels: Int32Array.of(1, 0) });
    expect(splits.validation).toEqual({ texts: ['c'], labels: Int32Array.of(0) });
    expect(splits.test).toEqual({ texts: ['d'], labels: Int32Array.of(1) });
  });

  it('takes explicit paths, and draws the part that is missing from the training part', async () => {
    const splitPaths = {
      train: await fileOf('a.jsonl', jsonl(rows(60))),
      test: await fileOf('b.jsonl', jsonl(rows(3))),
    };
    const splits = await read('jsonl', { splitPaths });
    expect([splits.train, splits.validation, splits.test].map(({ texts }) => texts.length)).toEqual([54, 6, 3]);
  });

  it('takes other field names, and numbers for a regression', async () => {
    const dataPath = await fileOf(
      'r.jsonl',
      jsonl(Array.from({ length: 40 }, (_, i) => ({ review: `r${i}`, stars: i / 4 }))),
    );
    const splits = await read('jsonl', { dataPath, textField: 'review', labelField: 'stars', task: 'regression' });
    expect(splits).toMatchObject({ task: 'regression', labelNames: [] });
    expect([splits.train, splits.validation, splits.test].map(({ texts }) => texts.length)).toEqual([32, 4, 4]);
    expect(splits.test.labels).toBeInstanceOf(Float32Array);
    splits.test.texts.forEach((text, i) => expect(splits.test.labels[i]).toBe(Number(text.slice(1)) / 4));
  });

  it.each([
    ['broken JSON', '{"text": "a", "label": 1}\n{"text": "b", "label": \n', {}, /mine\.jsonl:2: not JSON/],
    ['no object', '{"text": "a", "label": 1}\n\n[1]\n', {}, /mine\.jsonl:3: not a JSON object/],
    [
      'no text',
      '{"txt": "a", "label": 1}',
      {},
      /mine\.jsonl:1: no field 'text'.*It has txt, label.*--text-field; textField in code/,
    ],
    ['no label', '{"text": "a"}', {}, /mine\.jsonl:1: no field 'label'/],
    ['a text that is none', '{"text": 5, "label": 1}', {}, /mine\.jsonl:1: the field 'text' is a number/],
    ['a label that is none', '{"text": "a", "label": [1]}', {}, /mine\.jsonl:1: the field 'label' is a list/],
    [
      'no number for a regression',
      '{"text": "a", "label": 1}\n{"text": "b", "label": "good"}',
      { task: 'regression' },
      /mine\.jsonl:2: the label 'good' is no number/,
    ],
    ['an empty file', '\n\n', {}, /mine\.jsonl is empty/],
    ['one label only', jsonl(rows(30).map((row) => ({ ...row, label: 'x' }))), {}, /every row has the label 'x'/],
    ['too few rows', jsonl(rows(4)), {}, /4 rows are too few/],
  ] as const)('refuses %s, with its place', async (_, content, options, message) => {
    const dataPath = await fileOf('mine.jsonl', content);
    await expect(read('jsonl', { dataPath, ...options })).rejects.toMatchObject({
      code: 'BAD_DATA',
      message: expect.stringMatching(message) as string,
    });
  });

  it('refuses a label in the test part that the training part has not', async () => {
    const base = folder();
    await fileOf('train.jsonl', jsonl(rows(30)), base);
    await fileOf(
      'test.jsonl',
      jsonl([
        { text: 'a', label: 'common' },
        { text: 'b', label: 'new' },
      ]),
      base,
    );
    await expect(read('jsonl', { dataPath: base })).rejects.toThrow(
      /test\.jsonl:2: the label 'new' does not occur in the training part, which has common, rare/,
    );
  });

  it('says where it looked for files', async () => {
    await expect(openTextSource('jsonl')).rejects.toThrow(/needs --data-path/);
    await expect(openTextSource('jsonl', { dataPath: '/does/not/exist' })).rejects.toMatchObject({ code: 'BAD_FILE' });
    const path = await fileOf('other.txt', 'x');
    await expect(openTextSource('jsonl', { dataPath: join(path, '..') })).rejects.toThrow(
      /has no train\.jsonl.*it has other\.txt/,
    );
    await expect(openTextSource('jsonl', { dataPath: path, splitPaths: { train: path } })).rejects.toMatchObject({
      code: 'CONFLICTING_OPTIONS',
    });
  });

  it('has another fingerprint when a file or a setting changes', async () => {
    const dataPath = await fileOf('mine.jsonl', jsonl(rows(40)));
    const fingerprint = async (options: TextSourceOptions = {}): Promise<string> =>
      (await openTextSource('jsonl', { dataPath, ...options })).fingerprint;
    const first = await fingerprint();
    expect(await fingerprint()).toBe(first);
    expect(await fingerprint({ seed: 9 })).not.toBe(first);
    expect(await fingerprint({ textField: 'label' })).not.toBe(first);
    await writeFile(dataPath, jsonl(rows(41)));
    expect(await fingerprint()).not.toBe(first);
  });
});

describe('csv', () => {
  it('reads quotes, commas and line feeds in texts, in any order of columns', async () => {
    const base = folder();
    await fileOf('train.csv', '\ufefflabel,id,text\r\nbad,1,"one, ""two""\nthree"\r\n\r\ngood,2,naïve\r\n', base);
    await fileOf('valid.csv', 'text,label\nx,good\n', base);
    await fileOf('test.csv', 'text,label\ny,bad', base);
    const splits = await read('csv', { dataPath: base });
    expect(splits.train).toEqual({ texts: ['one, "two"\nthree', 'naïve'], labels: Int32Array.of(0, 1) });
    expect(splits.test).toEqual({ texts: ['y'], labels: Int32Array.of(0) });
  });

  it('reads .tsv with tabs', async () => {
    const dataPath = await fileOf(
      'mine.tsv',
      `text\tlabel\n${rows(40)
        .map(({ text, label }) => `${text}, really\t${label}`)
        .join('\n')}`,
    );
    const splits = await read('csv', { dataPath });
    expect(splits.train.texts[0]).toMatch(/^text \d+, really$/);
  });

  it.each([
    [
      'a missing column',
      'txt,label\na,1\n',
      /mine\.csv:1: no column 'text' in the header: txt, label.*--text-field and --label-field; textField/,
    ],
    ['a row with too many fields', 'text,label\na,1\nb,2,3\n', /mine\.csv:3: /],
    ['an open quote', 'text,label\na,1\n"b,2\n', /mine\.csv:\d: .*[Qq]uote/],
    ['an empty label', 'text,label\na,1\nb,\n', /mine\.csv:3: no field 'label'/],
    ['an empty file', '', /mine\.csv is empty/],
    ['a header only', 'text,label\n', /mine\.csv is empty/],
  ])('refuses %s, with its place', async (_, content, message) => {
    const dataPath = await fileOf('mine.csv', content);
    await expect(read('csv', { dataPath })).rejects.toMatchObject({
      code: 'BAD_DATA',
      message: expect.stringMatching(message) as string,
    });
  });
});

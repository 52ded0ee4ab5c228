import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolders } from '../testing/temporary-folder.testing.ts';
import { Tokenizer } from './tokenizer.ts';

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
const reference = JSON.parse(readFileSync(fixture('encodings.json'), 'utf8')) as {
  rows: { text: string; ids: number[]; decoded: string }[];
};
const folder = temporaryFolders();

describe('Tokenizer', () => {
  it("gives the reference's ids and texts for all of its 86 awkward strings", async () => {
    const tokenizer = await Tokenizer.fromFile(fixture('tokenizer.json'));
    expect(reference.rows).toHaveLength(86);
    for (const row of reference.rows) {
      const ids = await tokenizer.encode(row.text);
      expect(Array.from(ids)).toEqual(row.ids);
      expect(await tokenizer.decode(ids)).toBe(row.decoded);
    }
    const batch = await tokenizer.encodeBatch(reference.rows.map((row) => row.text));
    expect(batch.map((ids) => Array.from(ids))).toEqual(reference.rows.map((row) => row.ids));
  });

  it('keeps the first maxLength ids', async () => {
    const tokenizer = await Tokenizer.fromFile(fixture('tokenizer.json'));
    const text = reference.rows.at(-1)?.text as string;
    const whole = await tokenizer.encode(text);
    expect(await tokenizer.encode(text, { maxLength: 10 })).toEqual(whole.slice(0, 10));
    expect(await tokenizer.encodeBatch([text, 'a'], { maxLength: 10 })).toEqual([
      whole.slice(0, 10),
      await tokenizer.encode('a'),
    ]);
    expect(await tokenizer.encode('a', { maxLength: 10 })).toHaveLength(1);
  });

  it('does not let settings in the file truncate or pad', async () => {
    const json = JSON.parse(readFileSync(fixture('tokenizer.json'), 'utf8')) as Record<string, unknown>;
    json.truncation = { direction: 'Right', max_length: 2, strategy: 'LongestFirst', stride: 0 };
    json.padding = {
      strategy: { Fixed: 50 },
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 3,
      pad_type_id: 0,
      pad_token: '<pad>',
    };
    const tokenizer = Tokenizer.fromJson(JSON.stringify(json));
    expect(Array.from(await tokenizer.encode('Hello, world!'))).toEqual([43, 6068, 15, 946, 4]);
  });

  it('knows its size, its padding token and its hash', async () => {
    const tokenizer = await Tokenizer.fromFile(fixture('tokenizer.json'));
    expect(tokenizer.vocabSize).toBe(8192);
    expect(tokenizer.padId).toBe(3);
    expect(tokenizer.tokenToId('</s>')).toBe(2);
    expect(tokenizer.tokenToId('no such token')).toBeUndefined();
    expect(tokenizer.hash).toMatch(/^[0-9a-f]{64}$/);
    const other = Tokenizer.fromJson(tokenizer.toJson().replaceAll('<pad>', '<xad>'));
    expect(other.padId).toBe(2);
    expect(other.hash).not.toBe(tokenizer.hash);
  });

  it('saves the file as it was', async () => {
    const path = join(folder(), 'model', 'tokenizer.json');
    await (await Tokenizer.fromFile(fixture('tokenizer.json'))).save(path);
    expect(readFileSync(path)).toEqual(readFileSync(fixture('tokenizer.json')));
  });

  it.each([
    ['another JSON', '{"model_max_length": 512}'],
    ['no JSON', 'hello'],
    ['nothing', ''],
    ['a list', '[1, 2]'],
    ['a cut file', readFileSync(fixture('tokenizer.json'), 'utf8').slice(0, 5000)],
  ])('refuses %s with a message that names the file', async (_, text) => {
    const path = join(folder(), 'tokenizer.json');
    await writeFile(path, text);
    await expect(Tokenizer.fromFile(path)).rejects.toMatchObject({
      code: 'BAD_FILE',
      message: expect.stringContaining(`${path} is not a Hugging Face tokenizer.json`) as string,
    });
  });

  it('refuses a file that is not there', async () => {
    await expect(Tokenizer.fromFile('/does/not/exist.json')).rejects.toMatchObject({ code: 'BAD_FILE' });
  });
});

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { makeTar, makeTarGz, temporaryFolders } from '../../testing/temporary-folder.testing.ts';
import { readImdbArchive } from './archive.ts';
import { openImdb } from './imdb.ts';
import { blogPartition, standardPartition } from './splits.ts';

const folder = temporaryFolders();
const PARTS = ['train/pos', 'train/neg', 'test/pos', 'test/neg'];

/** Ten reviews in each part, and what else the real archive holds. */
function smallArchive(): Record<string, string> {
  const entries: Record<string, string> = {
    'aclImdb/README': 'about',
    'aclImdb/train/unsup/0_0.txt': 'no label',
    'aclImdb/train/labeledBow.feat': '9 0:9',
  };
  for (const part of PARTS)
    for (let i = 0; i < 10; i++) entries[`aclImdb/${part}/${i}_7.txt`] = `review ${i} of ${part}: naïve café`;
  return entries;
}

async function archiveFile(bytes: Uint8Array, name = 'aclImdb_v1.tar.gz'): Promise<string> {
  const path = join(folder(), name);
  await writeFile(path, bytes);
  return path;
}

describe('reading the archive', () => {
  it('gives the labelled reviews and nothing else', async () => {
    for (const bytes of [await makeTarGz(smallArchive()), await makeTar(smallArchive())]) {
      const reviews = await readImdbArchive(await archiveFile(bytes));
      expect(reviews.size).toBe(40);
      expect(reviews.get('train/neg/3_7.txt')).toBe('review 3 of train/neg: naïve café');
    }
  });

  it('ignores links and paths that lead out, says so, and writes nothing', async () => {
    const path = await archiveFile(
      await makeTarGz({
        '../train/pos/1_9.txt': 'climbs',
        'aclImdb/../../train/pos/2_9.txt': 'climbs too',
        '/train/pos/3_9.txt': 'absolute',
        'aclImdb/train/pos/4_9.txt': { type: 'symlink', linkname: '/etc/passwd' },
        'aclImdb/train/pos/5_9.txt': { type: 'link', linkname: '../../etc/passwd' },
        'aclImdb/train/pos/6_9.txt': 'good',
      }),
    );
    const notes: string[] = [];
    const reviews = await readImdbArchive(path, (note) => notes.push(note));
    expect([...reviews.keys()]).toEqual(['train/pos/6_9.txt']);
    expect(notes).toEqual([expect.stringContaining('ignored 5 entries')]);
    expect(await readdir(join(path, '..'))).toEqual(['aclImdb_v1.tar.gz']);
  });

  it('refuses a truncated archive, wherever it is cut', async () => {
    const whole = await makeTarGz(smallArchive());
    for (const fraction of [0.2, 0.5, 0.9, 0.99]) {
      const path = await archiveFile(whole.subarray(0, Math.floor(whole.length * fraction)));
      await expect(readImdbArchive(path)).rejects.toMatchObject({
        code: 'BAD_DATA',
        message: expect.stringContaining(path) as string,
      });
    }
    const tar = await makeTar(smallArchive());
    await expect(readImdbArchive(await archiveFile(tar.subarray(0, 5300)))).rejects.toMatchObject({ code: 'BAD_DATA' });
  });

  it('refuses a damaged archive', async () => {
    const whole = await makeTarGz(smallArchive());
    whole.fill(0xa5, 200, 260);
    await expect(readImdbArchive(await archiveFile(whole))).rejects.toThrow(/truncated or damaged after \d+ reviews/);
    const tar = await makeTar(smallArchive());
    tar.fill(0xa5, 1024, 1536);
    await expect(readImdbArchive(await archiveFile(gzipSync(tar)))).rejects.toThrow(/truncated or damaged/);
  });

  it('refuses what is no archive, a review of absurd size, and a file that is not there', async () => {
    await expect(readImdbArchive(await archiveFile(Buffer.from('<html>not found</html>')))).rejects.toMatchObject({
      code: 'BAD_FILE',
    });
    await expect(readImdbArchive(await archiveFile(Buffer.alloc(0)))).rejects.toMatchObject({ code: 'BAD_FILE' });
    await expect(
      readImdbArchive(await archiveFile(await makeTarGz({ 'aclImdb/train/pos/0_9.txt': 'x'.repeat(2 << 20) }))),
    ).rejects.toThrow(/no review is longer/);
    await expect(readImdbArchive('/does/not/exist.tar.gz')).rejects.toMatchObject({ code: 'BAD_FILE' });
  });
});

describe('openImdb', () => {
  it('reads the tarball and the unpacked folder to the same splits', async () => {
    const path = await archiveFile(await makeTarGz(smallArchive()));
    const unpacked = folder();
    for (const [name, text] of Object.entries(smallArchive())) {
      await mkdir(join(unpacked, name, '..'), { recursive: true });
      await writeFile(join(unpacked, name), text);
    }
    const splits = await (await openImdb({ dataPath: path, split: 'standard', seed: 4 })).read();
    for (const dataPath of [unpacked, join(unpacked, 'aclImdb')]) {
      const source = await openImdb({ dataPath, split: 'standard', seed: 4 });
      expect(await source.read()).toEqual(splits);
      expect((await openImdb({ dataPath, split: 'standard', seed: 5 })).fingerprint).not.toBe(source.fingerprint);
    }
    expect([splits.train.texts.length, splits.validation.texts.length, splits.test.texts.length]).toEqual([18, 2, 20]);
    splits.test.texts.forEach((text, i) => expect(splits.test.labels[i]).toBe(text.includes('/pos') ? 1 : 0));
  });

  it('notices a changed review in the folder', async () => {
    const unpacked = folder();
    for (const part of PARTS) {
      await mkdir(join(unpacked, part), { recursive: true });
      await writeFile(join(unpacked, part, '0_1.txt'), 'one');
    }
    const before = (await openImdb({ dataPath: unpacked })).fingerprint;
    await writeFile(join(unpacked, 'test/neg/0_1.txt'), 'another');
    expect((await openImdb({ dataPath: unpacked })).fingerprint).not.toBe(before);
  });

  it('says what is wrong with a folder, an incomplete archive, a split', async () => {
    await expect(openImdb({ dataPath: folder() })).rejects.toThrow(/is no unpacked aclImdb/);
    await expect(openImdb({ dataPath: '/does/not/exist' })).rejects.toMatchObject({ code: 'BAD_FILE' });
    await expect(openImdb({ split: 'blgo' })).rejects.toThrow(/Did you mean 'blog'\?/);
    const path = await archiveFile(await makeTarGz(smallArchive()));
    await expect((await openImdb({ dataPath: path })).read()).rejects.toThrow(
      /12,500 in each part; found test\/pos 10.*--split=standard/,
    );
    const empty = await archiveFile(await makeTarGz({ 'other/file.txt': 'x' }));
    await expect((await openImdb({ dataPath: empty })).read()).rejects.toThrow(/holds no reviews/);
  });
});

describe('standardPartition', () => {
  it('keeps the test part and draws a tenth of the training part', () => {
    const files = PARTS.flatMap((part) => Array.from({ length: 50 }, (_, i) => `${part}/${i}_1.txt`));
    const { train, validation, test } = standardPartition(files, 1);
    expect([train.length, validation.length, test.length]).toEqual([90, 10, 100]);
    expect(new Set([...train, ...validation, ...test]).size).toBe(200);
    expect(standardPartition([...files].reverse(), 1)).toEqual({ train, validation, test });
    expect(standardPartition(files, 2).train).not.toEqual(train);
  });
});

describe("the blog's partition of the real archive", () => {
  const root = fileURLToPath(new URL('../../../../../', import.meta.url));
  const path = process.env.TENSORLOOM_IMDB ?? join(root, '../shared/data/aclImdb_v1.tar.gz');
  const isHere = existsSync(path);
  if (!isHere)
    console.log(
      `Not run: the check of the blog's partition needs aclImdb_v1.tar.gz; none at ${path} (set TENSORLOOM_IMDB).`,
    );

  it.runIf(isHere)('is that of numpy and pandas, file for file', async () => {
    const reviews = await readImdbArchive(path);
    const partition = blogPartition(reviews.keys());
    const reference = JSON.parse(
      readFileSync(new URL('../../fixtures/imdb-partition.json', import.meta.url), 'utf8'),
    ) as Record<
      string,
      { count: number; positives: number; first: string[]; last: string[]; sha256_of_newline_joined_files: string }
    >;
    for (const part of ['train', 'validation', 'test'] as const) {
      const files = partition[part];
      const expected = reference[part];
      expect(files).toHaveLength(expected!.count);
      expect(files.slice(0, 10)).toEqual(expected!.first);
      expect(files.slice(-3)).toEqual(expected!.last);
      expect(files.filter((file) => file.includes('/pos/'))).toHaveLength(expected!.positives);
      expect(createHash('sha256').update(files.join('\n')).digest('hex')).toBe(
        expected!.sha256_of_newline_joined_files,
      );
    }
  });
});

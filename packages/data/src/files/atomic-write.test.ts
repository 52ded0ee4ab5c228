import { readFileSync, readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { temporaryFolders } from '../testing/temporary-folder.testing.ts';
import { writeFileAtomically } from './atomic-write.ts';

const folder = temporaryFolders();

it('writes all parts, making the folders on the way, over what was there', async () => {
  const path = join(folder(), 'a', 'b.bin');
  await writeFileAtomically(path, ['old and longer']);
  await writeFileAtomically(path, ['one ', Buffer.from('two')]);
  expect(readFileSync(path, 'utf8')).toBe('one two');
  expect(readdirSync(join(path, '..'))).toEqual(['b.bin']);
});

it('that fails names the file and leaves nothing behind', async () => {
  const path = join(folder(), 'taken');
  await mkdir(join(path, 'by a folder'), { recursive: true });
  await expect(writeFileAtomically(path, ['x'])).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining(path) as string,
  });
  expect(readdirSync(join(path, '..'))).toEqual(['taken']);
});

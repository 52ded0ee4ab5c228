import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeFileAtomically } from './atomic-write.ts';
import { makeFolders } from './make-folders.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'tensorloom-folders-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('makes all that is missing, and nothing where it is there', () => {
  const deep = join(folder, 'a', 'b', 'c');
  makeFolders(deep);
  makeFolders(deep);
  expect(statSync(deep).isDirectory()).toBe(true);
});

it('follows a link to a folder', () => {
  symlinkSync(folder, join(folder, 'link'));
  makeFolders(join(folder, 'link'));
  makeFolders(join(folder, 'link', 'a'));
  expect(existsSync(join(folder, 'a'))).toBe(true);
});

it('throws where a file is in the way', async () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  expect(() => makeFolders(file)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
  expect(() => makeFolders(join(file, 'a', 'b'))).toThrow(expect.objectContaining({ code: 'ENOTDIR' }));
  await expect(writeFileAtomically(join(file, 'a', 'b'), '')).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining('a part of the path is a file') as string,
  });
});

// A process of its own, as a call that never returns would take the tests with it.
it.skipIf(!existsSync('/proc/self'))('returns where the system refuses with ENOENT, as /proc does', () => {
  const module = fileURLToPath(new URL('./make-folders.ts', import.meta.url));
  const script = `import { makeFolders } from ${JSON.stringify(module)}; makeFolders('/proc/tensorloom/a/b');`;
  const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    timeout: 60_000,
    encoding: 'utf8',
  });
  expect(child.stderr).toMatch(/ENOENT.*\/proc\/tensorloom'/);
  expect(child.status).toBe(1);
});

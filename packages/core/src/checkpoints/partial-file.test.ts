import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { claimPartialFile, returnPartialFile } from './partial-file.ts';

let folder: string;
let shared: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'partial-'));
  shared = join(folder, 'file.part');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const host = hostname().replace(/[^A-Za-z0-9]/g, '_');
/** Above every system's largest process id. */
const deadPid = 999_999_999;

it('one caller gets what an earlier run left, another at the same time a file of its own', async () => {
  writeFileSync(shared, 'begun');
  const [one, two] = await Promise.all([claimPartialFile(shared), claimPartialFile(shared)]);
  expect(one).not.toBe(two);
  expect([one, two].filter((path) => existsSync(path)).map((path) => readFileSync(path, 'utf8'))).toEqual(['begun']);
  expect(existsSync(shared)).toBe(false);
});

it('what is returned is there for the next, the longer of two', async () => {
  const [short, long, none] = await Promise.all([1, 2, 3].map(() => claimPartialFile(shared)));
  writeFileSync(short as string, 'be');
  writeFileSync(long as string, 'begun');
  await returnPartialFile(none as string, shared);
  await returnPartialFile(long as string, shared);
  await returnPartialFile(short as string, shared);
  expect(readdirSync(folder)).toEqual(['file.part']);
  expect(readFileSync(await claimPartialFile(shared), 'utf8')).toBe('begun');
});

it('takes what a killed process of this machine left, not what a living one or another machine has', async () => {
  const parts = [`${host}-${process.ppid}-0123abcd`, `another-${deadPid}-0123abcd`, `${host}-${deadPid}-0123abcd`];
  for (const part of parts) writeFileSync(`${shared}.${part}`, part);
  expect(readFileSync(await claimPartialFile(shared), 'utf8')).toBe(parts[2]);
  expect(existsSync(await claimPartialFile(shared))).toBe(false);
});

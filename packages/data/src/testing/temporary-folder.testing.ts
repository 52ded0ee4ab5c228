/** For tests: folders that vanish after the test file, and tarballs made in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';
import { afterAll } from 'vitest';

/** A new empty folder. Call it at the top of a test file or in a test. */
export function temporaryFolders(): () => string {
  const made: string[] = [];
  afterAll(() => made.forEach((folder) => rmSync(folder, { recursive: true, force: true })));
  return () => {
    const folder = mkdtempSync(join(tmpdir(), 'tensorloom-data-'));
    made.push(folder);
    return folder;
  };
}

/** A tar archive of the given entries: a text, or a header for what is no plain file. */
export async function makeTar(entries: Readonly<Record<string, string | Partial<Header>>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, entry] of Object.entries(entries)) {
    if (typeof entry === 'string') archive.entry({ name }, entry);
    else archive.entry({ name, ...entry });
  }
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

export async function makeTarGz(entries: Readonly<Record<string, string | Partial<Header>>>): Promise<Buffer> {
  return gzipSync(await makeTar(entries));
}

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));

it("the README's example runs as it stands and prints what it says", async () => {
  const block = /```ts\n([^]*?)```/.exec(readFileSync(join(packageFolder, 'README.md'), 'utf8'))?.[1] as string;
  const expected = /^\/\/ (epoch .*)$/m.exec(block)?.[1];
  // Inside the package, so that its own name resolves.
  const folder = mkdtempSync(join(packageFolder, '.readme-'));
  try {
    writeFileSync(join(folder, 'example.mts'), block);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      '--conditions=@tensorloom/source',
      '--import',
      'tsx',
      join(folder, 'example.mts'),
    ]);
    expect(stderr).toBe('');
    expect(stdout.trim()).toBe(expected);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

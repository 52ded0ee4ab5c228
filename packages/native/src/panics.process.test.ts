/** A panic in the engine is an error in JavaScript, and the engine goes on: shown on an addon that is built for this test (crates/addon/examples/panics.rs). */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

interface Panics {
  start(threads: number): void;
  fail(pieces: number, culprit: number): void;
  sum(count: number): number;
}

const root = fileURLToPath(new URL('../', import.meta.url));
const cargoIsHere = spawnSync('cargo', ['--version']).status === 0;
const required = process.env['TENSORLOOM_REQUIRE_NATIVE'] === '1';

function build(): Panics {
  const names = { linux: 'libpanics.so', darwin: 'libpanics.dylib', win32: 'panics.dll' } as const;
  const name = names[process.platform as keyof typeof names];
  const options = ['build', '--quiet', '--release', '--locked', '-p', 'tensorloom-node', '--example', 'panics'];
  const { status, stderr } = spawnSync('cargo', options, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`cargo could not build the addon that panics: ${stderr}`);
  const loaded = { exports: {} };
  process.dlopen(loaded, path.join(root, 'target', 'release', 'examples', name));
  return loaded.exports as Panics;
}

it.skipIf(!cargoIsHere && !required)(
  'a panic on any thread is an error, after which the engine goes on',
  () => {
    const panics = build();
    panics.start(2);
    for (let culprit = 0; culprit < 8; culprit++) {
      expect(() => panics.fail(8, culprit)).toThrow(`piece ${culprit} fails`);
      expect(panics.sum(1000)).toBe(499_500);
    }
    expect(() => panics.fail(8, 8)).not.toThrow();
  },
  600_000,
);

it('every function that Node.js calls catches panics', () => {
  const folder = path.join(root, 'crates', 'addon', 'src');
  const sources = readdirSync(folder).map((file) => readFileSync(path.join(folder, file), 'utf8'));
  const functions = sources.flatMap((source) => source.match(/#\[napi[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*pub fn \w+/g) ?? []);
  expect(functions.length).toBeGreaterThan(40);
  expect(functions.filter((declared) => !declared.includes('catch_unwind'))).toEqual([]);
});

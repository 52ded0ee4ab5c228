import { readFileSync } from 'node:fs';
import { TensorloomError } from '@tensorloom/core';
import { expect, it } from 'vitest';
import { addon, expectVersion } from './addon.ts';
import { nativeIsBuilt } from './native.testing.ts';

const read = (file: string): string => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
const { version } = JSON.parse(read('package.json')) as { version: string };

it('an addon of another version, or of none, is refused with what to do', () => {
  for (const [other, shown] of [
    [{ version: () => '0.0.1' }, 'version 0.0.1;'],
    [{}, 'version unknown;'],
  ] as const) {
    const load = (): void => expectVersion('tensorloom.node', other);
    expect(load).toThrow(TensorloomError);
    expect(load).toThrow(shown);
    expect(load).toThrow(`@tensorloom/native ${version} `);
    expect(load).toThrow('npx nx run native:addon');
  }
  expect(() => expectVersion('tensorloom.node', { version: () => version })).not.toThrow();
});

it('crates and package have one version', () => {
  expect(read('Cargo.toml')).toContain(`version = "${version}"`);
});

it.skipIf(!nativeIsBuilt)('the addon tells its version', () => {
  expect(addon().version()).toBe(version);
});

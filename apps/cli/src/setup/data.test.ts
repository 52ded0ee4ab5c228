import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { paddingSideOf } from './data.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tensorloom-data-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('the side of padding is what tokenizer_config.json says, else right', () => {
  expect(paddingSideOf(folder)).toBe('right');
  for (const [text, side] of [
    ['{"padding_side": "left"}', 'left'],
    ['{}', 'right'],
    ['null', 'right'],
  ] as const) {
    writeFileSync(join(folder, 'tokenizer_config.json'), text);
    expect(paddingSideOf(folder)).toBe(side);
  }
});
test('a tokenizer_config.json that is no JSON is told by its path', () => {
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"padding_side"');
  expect(() => paddingSideOf(folder)).toThrow(
    expect.objectContaining({ code: 'BAD_FILE', message: expect.stringMatching(/tokenizer_config\.json is not JSON/) }),
  );
});

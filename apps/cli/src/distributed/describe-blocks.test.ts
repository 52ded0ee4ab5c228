import { expect, test } from 'vitest';
import { describeBlocks } from './describe.ts';

const told = (compile: boolean, activationCheckpointing: boolean): string[] => {
  const lines: string[] = [];
  const report = {
    blocks: 4,
    compiled: 1,
    recomputed: 3,
    plain: [
      { name: 'h.1', reason: 'too odd' },
      { name: 'h.2', reason: 'too odd' },
      { name: 'h.3', reason: 'unknown' },
    ],
  };
  describeBlocks({ compile, activationCheckpointing }, report, { line: (text) => lines.push(text) });
  return lines;
};

test('a run says how many blocks are compiled and recomputed, and which run op by op for what reason', () => {
  expect(told(true, true)).toEqual([
    'compiled 1 of 4 transformer blocks | backward computes 3 of 4 transformer blocks again',
    '  op by op: h.1, h.2: too odd',
    '  op by op: h.3: unknown',
  ]);
  expect(told(true, false)[0]).toBe('compiled 1 of 4 transformer blocks');
  expect(told(false, true)[0]).toBe('backward computes 3 of 4 transformer blocks again');
});

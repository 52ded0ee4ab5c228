/** The first lines of a run. */
import type { Accelerator, AcceleratorSelection } from '@tensorloom/core';
import { expect, it } from 'vitest';
import { passedOver } from './watermark.ts';

const selection: AcceleratorSelection = {
  accelerator: { name: 'wasm' } as Accelerator,
  automatic: true,
  skipped: [{ name: 'native', reason: 'its addon is not built. Install Rust.\nMore.' }],
};

it('a run says what auto would rather have taken, and what it lacks', () => {
  expect(passedOver(selection)).toEqual([
    'accelerator native would come first, wasm is taken: its addon is not built. Install Rust.',
  ]);
});

it('a run on an accelerator that was asked for says nothing of others', () => {
  expect(passedOver({ ...selection, automatic: false })).toEqual([]);
});

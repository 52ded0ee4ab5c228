import { Parameter, tf, zeros } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { NativeAccelerator } from '../accelerator.ts';
import { addon, storageCodes } from '../addon.ts';
import { nativeBackend, setActivationStorage } from '../backend.ts';
import { activateNative, nativeIsBuilt } from '../native.testing.ts';

/** 256 MiB, which nothing else in these tests comes near. */
const shape = [2 ** 10, 2 ** 16];
const bytes = 2 ** 28;

function usage(): { readonly engine: number; readonly javaScript: number; readonly resident: number } {
  const { parameter } = new NativeAccelerator().memory().byKind as Record<'parameter', { currentBytes: number }>;
  const { arrayBuffers, rss } = process.memoryUsage();
  return { engine: parameter.currentBytes, javaScript: arrayBuffers, resident: rss };
}

describe.skipIf(!nativeIsBuilt)('zeros on native', () => {
  beforeAll(activateNative);

  it('are in the engine and not in JavaScript, and take no memory before they are written', () => {
    const before = usage();
    const parameter = new Parameter(zeros(shape));
    const after = usage();
    expect(after.engine - before.engine).toBe(bytes);
    expect(after.javaScript - before.javaScript).toBeLessThan(bytes / 8);
    expect(after.resident - before.resident).toBeLessThan(bytes / 2);
    const ends = tf.tidy(() =>
      [0, 2 ** 10 - 1].map((row) => tf.max(tf.abs(tf.slice(parameter.value, row, 1))).dataSync()[0]),
    );
    expect(ends).toEqual([0, 0]);
    parameter.dispose();
    expect(usage().engine).toBe(before.engine);
  });

  it('are stored as other new tensors are', () => {
    setActivationStorage('float16');
    const halves = zeros([2, 3]);
    setActivationStorage(null);
    expect(addon().storageOf(nativeBackend().handle(halves))).toBe(storageCodes.float16);
    expect(halves.arraySync()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
    halves.dispose();
  });
});

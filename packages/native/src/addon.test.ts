import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addon, type Handle } from './addon.ts';
import { activateNative, nativeIsBuilt } from './native.testing.ts';

const float32 = 0;
const huge = 2 ** 30;

/** What a caller with a mistake would pass: the addon must answer with an error, since anything else ends the process or shows other memory. */
describe.skipIf(!nativeIsBuilt)('the addon, given operands that do not fit', () => {
  let four: Handle;
  let integers: Handle;

  beforeAll(async () => {
    await activateNative();
    four = addon().uploadFloats(Float32Array.of(1, 2, 3, 4), float32);
    integers = addon().uploadIntegers(Int32Array.of(1, 2, 3, 4));
  });

  afterAll(() => {
    addon().free(four);
    addon().free(integers);
  });

  it.each([NaN, -1, 0.5, Infinity, 1e20, 2 ** 62, 2 ** 52])('refuses %d elements', (length) => {
    expect(() => addon().filled(length, 1, float32)).toThrow();
    expect(() => addon().filled(length, 0, float32)).toThrow();
  });

  it.each([NaN, -1, 0.5, Infinity, 2 ** 32, 2 ** 32 + 2, -(2 ** 32)])('names the argument that is %d', (bad) => {
    const given = bad === Infinity ? 'inf' : bad;
    const made: Handle[] = [];
    const sizes = [0, 1, 2].map((at) => [2, 2, 2].with(at, bad) as [number, number, number]);
    for (const [at, [m, n, k]] of sizes.entries())
      expect(() => made.push(addon().linear(four, four, null, m, n, k, float32))).toThrow(`${'mnk'[at]} is ${given};`);
    expect(() => made.push(addon().linear(bad, four, null, 2, 2, 2, float32))).toThrow(`x is ${given};`);
    expect(() => made.push(addon().linear(four, bad, null, 2, 2, 2, float32))).toThrow(`weight is ${given};`);
    expect(() => made.push(addon().linear(four, four, bad, 2, 2, 2, float32))).toThrow(`bias is ${given};`);
    expect(() => made.push(addon().linear(four, four, null, 2, 2, 2, bad))).toThrow(`storage is ${given};`);
    expect(() => addon().accumulate(bad, four)).toThrow(`into is ${given};`);
    expect(() => addon().free(bad)).toThrow(`handle is ${given};`);
    expect(() => made.push(addon().dropout(four, 0.5, bad, float32))).toThrow(`seed is ${given};`);
    if (bad !== -1)
      expect(() => made.push(...addon().crossEntropy(four, integers, bad, 1))).toThrow(`ignoreIndex is ${given};`);
    expect(() => made.push(addon().gather(four, integers, 1, 1, 4, bad, 4))).toThrow(`inner is ${given};`);
    expect(() => made.push(addon().softmax(four, bad, float32))).toThrow(`width is ${given};`);
    expect(() => addon().start(bad)).toThrow(`threads is ${given};`);
    expect(made).toEqual([]);
  });

  it.each([NaN, -1, 0.5, 2 ** 53])('refuses an offset of %d', (offset) => {
    expect(() => addon().rearrange(four, offset, Int32Array.of(1), Int32Array.of(1))).toThrow(`offset is ${offset};`);
  });

  it('refuses what typed arrays make of a handle that is none', () => {
    const nothing = Uint32Array.of(NaN);
    expect(() => addon().norm(nothing, 2)).toThrow('tensors is 0;');
    expect(() => addon().join(1, nothing)).toThrow('parts is 0;');
  });

  it('refuses shapes whose number of elements overflows', () => {
    expect(() => addon().linear(four, four, null, 2 ** 31, 2 ** 31, 0, float32)).toThrow();
    expect(() => addon().rearrange(four, 0, Int32Array.of(huge, huge, 4), Int32Array.of(0, 0, 0))).toThrow('no memory');
    expect(() => addon().rearrange(four, 0, Int32Array.of(-1), Int32Array.of(1))).toThrow('shape');
    expect(() => addon().gather(four, integers, huge, huge, 4, 4, 4)).toThrow('too large');
    const [a, b] = [Int32Array.of(huge, 1, huge, 1), Int32Array.of(1, huge, 1, huge)];
    expect(() => addon().binary(0, four, a, four, b, float32)).toThrow('too large');
  });

  it('refuses to end a loan with a buffer that is not the view’s', () => {
    const tensor = addon().uploadFloats(Float32Array.of(5, 6), float32);
    const view = addon().lend(tensor);
    expect(() => addon().endLoan(tensor, new ArrayBuffer(0))).toThrow('not of this tensor');
    expect([...view]).toEqual([5, 6]);
    addon().endLoan(tensor, view.buffer);
    expect(view).toHaveLength(0);
    addon().free(tensor);
  });

  it('refuses to reduce an axis of integers without elements', () => {
    const empty = addon().uploadIntegers(new Int32Array(0));
    expect(() => addon().reduce(empty, 0, 2, 0, 2, 1, 3)).toThrow('without elements');
    addon().free(empty);
  });

  it('refuses stacks that do not pair', () => {
    const [one, two] = [Int32Array.of(0), Int32Array.of(0, 0)];
    expect(() => addon().batchMatMul(four, four, two, one, 2, 2, 2, false, false, float32)).toThrow('right ones');
    expect(() => addon().batchMatMul(four, four, one, two, 2, 2, 2, false, false, float32)).toThrow();
  });

  it('refuses a block’s kept bytes as a gradient to add to, and too few of them', () => {
    const [tokens, width, heads] = [2, 4, 2];
    const filled = (length: number): Handle => addon().filled(length, 1, float32);
    const lengths = [4, 4, 48, 12, 16, 4, 4, 4, 64, 16, 64, 4];
    const [hidden, mask] = [filled(tokens * width), addon().uploadIntegers(Int32Array.of(1, 1))];
    const weights = Uint32Array.from(lengths, filled);
    const numbers = Float64Array.of(1, tokens, 1e-5, 0, 0, 0, 0, 0, 0);
    const kept = addon().uploadBooleans(new Uint8Array(addon().blockKeptBytes(tokens, width, 16, heads, float32)));
    const backward = (bytes: Handle, into: number): Handle[] => {
      const gradients = Int32Array.from(lengths, (_, i) => (i === 0 ? into : -1));
      const slopes = new Float32Array(heads);
      return [
        ...addon().blockBackward(hidden, hidden, mask, weights, bytes, gradients, slopes, numbers, float32),
      ] as Handle[];
    };
    expect(() => backward(kept, kept)).toThrow('read by one kernel');
    expect(() => backward(four, -1)).toThrow('kept');
    expect(() => backward(kept, hidden)).toThrow();
    const made = backward(kept, -1);
    for (const handle of [hidden, mask, kept, ...weights, ...made]) addon().free(handle);
  });

  it('refuses a handle that was freed, also when its place is in use again', () => {
    const stale = addon().uploadFloats(Float32Array.of(1), float32);
    addon().free(stale);
    const next = addon().uploadFloats(Float32Array.of(2), float32);
    expect(() => addon().read(stale)).toThrow('was freed');
    addon().free(next);
  });

  it('refuses operands that are longer than the shape', () => {
    expect(() => addon().linear(four, four, null, 1, 1, 2, float32)).toThrow('expected 2');
    expect(() => addon().linearGradBias(four, four, 2, 2)).toThrow();
  });
});

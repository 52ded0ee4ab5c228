import { describe, expect, it } from 'vitest';
import { HostTensor } from '../host-tensor.ts';
import type { StateDict, StoredState } from '../stateful.ts';
import { tf, type Tensor } from '../tensors.ts';
import { launched, LinearRegression, regressionBatches, adam } from './fabric.testing.ts';

const item = (value: number) => ({
  x: new HostTensor(Float32Array.of(value), [1]),
  id: value,
  nested: [{ y: new HostTensor(Int32Array.of(value), [1]) }],
});
const items = (count: number) => Array.from({ length: count }, (_, i) => item(i));

/** A loader with a position, and without a word on which batch is the last. */
class Counting {
  position = 0;
  epochs: number[] = [];

  constructor(readonly count: number) {}

  setEpoch(epoch: number): void {
    this.epochs.push(epoch);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number> {
    while (this.position < this.count) yield this.position++;
    this.position = 0;
  }

  stateDict(): StateDict {
    return { tensors: {}, values: { position: this.position } };
  }

  loadStateDict({ values }: StoredState): void {
    this.position = values['position'] as number;
  }
}

describe('a set-up loader', () => {
  it('moves nested batches to the device and frees them when the next is asked for, and at the end', async () => {
    const fabric = await launched();
    const loader = fabric.setupDataLoader(items(3));
    const before = tf.memory().numTensors;
    const seen: Tensor[] = [];
    for await (const batch of loader) {
      expect(batch.x).toBeInstanceOf(tf.Tensor);
      expect(batch.nested[0]!.y.dtype).toBe('int32');
      expect(batch.id).toBe(seen.length);
      expect(seen.at(-1)?.isDisposed ?? true).toBe(true);
      seen.push(batch.x);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('frees the batch also when the loop is left early, and leaves tensors alone that the loader made', async () => {
    const fabric = await launched();
    const before = tf.memory().numTensors;
    for await (const _ of fabric.setupDataLoader(items(3))) break;
    expect(tf.memory().numTensors).toBe(before);
    const own = tf.scalar(1);
    for await (const { tensor } of fabric.setupDataLoader([{ tensor: own }])) expect(tensor).toBe(own);
    expect(own.isDisposed).toBe(false);
  });

  it('leaves batches in host memory when asked', async () => {
    const fabric = await launched();
    for await (const batch of fabric.setupDataLoader(items(1), { moveToDevice: false }))
      expect(batch.x).toBeInstanceOf(HostTensor);
  });

  it('knows the last batch of a pass, by looking ahead where the loader does not say', async () => {
    const fabric = await launched();
    const loader = fabric.setupDataLoader(new Counting(3));
    const flags: boolean[] = [];
    for await (const _ of loader) flags.push(loader.isLastBatch);
    expect(flags).toEqual([false, false, true]);
  });

  it('advances the epoch on each pass', async () => {
    const fabric = await launched();
    const inner = new Counting(2);
    const loader = fabric.setupDataLoader(inner);
    for (let pass = 0; pass < 3; pass++) for await (const _ of loader);
    expect(inner.epochs).toEqual([0, 1, 2]);
  });

  it('passes the state of the inner loader on, without the batch looked ahead for', async () => {
    const fabric = await launched();
    const loader = fabric.setupDataLoader(new Counting(5));
    for await (const batch of loader) {
      if (batch !== 1) continue;
      const resumed = fabric.setupDataLoader(new Counting(5));
      resumed.loadStateDict({ tensors: new Map(), values: loader.stateDict().values });
      const rest: number[] = [];
      for await (const later of resumed) rest.push(later);
      expect(rest).toEqual([2, 3, 4]);
    }
  });

  it('stands where the loop was left, with the epoch that goes on', async () => {
    const fabric = await launched();
    const loader = fabric.setupDataLoader(new Counting(5));
    for await (const _ of loader);
    for await (const batch of loader) if (batch === 1) break;
    const inner = new Counting(5);
    const resumed = fabric.setupDataLoader(inner);
    resumed.loadStateDict({ tensors: new Map(), values: loader.stateDict().values });
    const rest: number[] = [];
    for await (const later of resumed) rest.push(later);
    expect(rest).toEqual([2, 3, 4]);
    for await (const _ of resumed) break;
    expect(inner.epochs).toEqual([1, 2]);
  });

  it('sets up several at once', async () => {
    const fabric = await launched();
    expect(fabric.setupDataLoaders([[1, 2], [3]]).map((loader) => loader.length)).toEqual([2, 1]);
  });

  it('tells the strategy where an epoch ends, also with an evaluation in the middle', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    const ends: boolean[] = [];
    const strategy = fabric.strategy;
    const backward = strategy.backward.bind(strategy);
    strategy.backward = (module, compute, request) => {
      ends.push(request.endOfEpoch);
      return backward(module, compute, request);
    };
    for await (const batch of fabric.setupDataLoader(regressionBatches(3))) {
      for await (const _ of fabric.setupDataLoader(items(2)));
      await fabric.backward(model, () => model.forward(batch));
      await fabric.step(optimizer);
    }
    const loose = fabric.toDevice(regressionBatches(1)[0]!);
    await fabric.backward(model, () => model.forward(loose));
    await fabric.step(optimizer);
    await fabric.backward(model, () => model.forward(loose), { endOfEpoch: true });
    expect(ends).toEqual([false, false, true, false, true]);
  });
});

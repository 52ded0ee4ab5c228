import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Adam,
  DynamicLossScaler,
  Fabric,
  MixedPrecision,
  tf,
  type FabricModule,
  type FabricOptimizer,
  type FabricOptions,
  type Parameter,
  type Tensor,
} from '@tensorloom/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addon, memoryKinds, storageCodes } from './addon.ts';
import { nativeBackend } from './backend.ts';
import { activateNative, nativeIsBuilt } from './native.testing.ts';
import { SmallTransformer, tokens, type Output } from './small-transformer.testing.ts';

const size = { hidden: 32, heads: 4, layers: 2, rows: 50 };
const { float32, float16, bfloat16 } = storageCodes;
const folder = mkdtempSync(join(tmpdir(), 'tensorloom-halves-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Setup {
  readonly fabric: Fabric;
  readonly model: FabricModule<SmallTransformer>;
  readonly optimizer: FabricOptimizer<Adam>;
}

async function setUp(options: FabricOptions, shape = size): Promise<Setup> {
  const fabric = new Fabric({ accelerator: 'native', threads: 2, ...options });
  await fabric.launch();
  const [model, optimizer] = await fabric.setup(
    new SmallTransformer(shape),
    (parameters) => new Adam(parameters, { lr: 1e-2 }),
  );
  return { fabric, model, optimizer };
}

/** One micro-batch and, where it closes the window, a step; the loss. `look` sees what forward gives. */
async function train(
  { fabric, model, optimizer }: Setup,
  seed: number,
  look?: (output: Output) => void,
): Promise<number> {
  const batch = tokens(4, 9, size.rows, seed);
  const { loss } = await fabric.backward(model, () => {
    const output = model.forward(batch);
    look?.(output);
    return output;
  });
  tf.dispose([batch.ids, batch.labels]);
  await fabric.step(optimizer);
  return loss;
}

const storageOf = (tensor: Tensor): number => addon().storageOf(nativeBackend().handle(tensor));

async function values(model: SmallTransformer): Promise<number[]> {
  const all: number[] = [];
  for (const parameter of model.parameters()) all.push(...(await parameter.value.data()));
  return all;
}

describe.runIf(nativeIsBuilt)('on native', () => {
  beforeAll(activateNative);

  describe.each([
    ['32-true', float32, float32],
    ['16-mixed', float32, float16],
    ['bf16-mixed', float32, bfloat16],
    ['16-true', float16, float16],
    ['bf16-true', bfloat16, bfloat16],
  ] as const)('%s', (precision, ofParameters, ofActivations) => {
    it('stores parameters and activations so; loss, gradients and moments are float32', async () => {
      const setup = await setUp({ precision, strategy: 'single' });
      const { model, fabric, optimizer } = setup;
      const batch = tokens(4, 9, size.rows, 1);
      await fabric.backward(model, () => {
        const { loss, items, logits, hidden } = model.forward(batch);
        expect([logits, hidden].map(storageOf)).toEqual([ofActivations, ofActivations]);
        const scaled = tf.tidy(() => tf.square(tf.add(tf.mul(loss, 3), 1))) as typeof loss;
        expect([loss, scaled].map(storageOf)).toEqual([float32, float32]);
        return { loss: scaled, items };
      });
      const dense = model.parameters().filter((parameter: Parameter) => parameter !== model.unwrapped.table);
      expect(new Set(dense.map(({ value }) => storageOf(value)))).toEqual(new Set([ofParameters]));
      expect(new Set(dense.map(({ grad }) => storageOf(grad as Tensor)))).toEqual(new Set([float32]));
      expect(await fabric.step(optimizer)).toBe(true);
      const moments = Object.values(optimizer.stateDict().tensors).filter(({ dtype }) => dtype === 'float32');
      expect(new Set(moments.map(storageOf))).toEqual(new Set([float32]));
      expect(new Set(dense.map(({ value }) => storageOf(value)))).toEqual(new Set([ofParameters]));
      tf.dispose([batch.ids, batch.labels]);
    });

    it('learns, and goes on bit for bit from a checkpoint, the loss scale included', async () => {
      const scaler = () => ({
        ...(precision === '16-mixed'
          ? { plugins: [new MixedPrecision(precision, 'float16', new DynamicLossScaler({ growthInterval: 2 }))] }
          : { precision }),
      });
      const whole = await setUp(scaler());
      const losses: number[] = [];
      for (let seed = 0; seed < 8; seed++) losses.push(await train(whole, seed % 2));
      expect(losses.at(-1)).toBeLessThan(0.3 * (losses[0] as number));

      const first = await setUp(scaler());
      for (let seed = 0; seed < 5; seed++) await train(first, seed % 2);
      const path = join(folder, precision);
      await first.fabric.save(path, { model: first.model, optimizer: first.optimizer });
      const second = await setUp(scaler());
      await second.fabric.load(path, { model: second.model, optimizer: second.optimizer });
      expect(await values(second.model)).toEqual(await values(first.model));
      expect(storageOf(second.model.unwrapped.score.weight.value)).toBe(ofParameters);
      const rest: number[] = [];
      for (let seed = 5; seed < 8; seed++) rest.push(await train(second, seed % 2));
      expect(rest).toEqual(losses.slice(5));
      expect(await values(second.model)).toEqual(await values(whole.model));
      expect(second.fabric.precision.lossScaler.stateDict()).toEqual(whole.fabric.precision.lossScaler.stateDict());
      // That the scale was one that changes is part of what is tested.
      if (precision === '16-mixed') expect(whole.fabric.precision.lossScaler.scale).toBe(65536 * 2 ** 4);
    });
  });

  it('a checkpoint is read in another precision, which rounds it to its storage', async () => {
    const stored = await setUp({ precision: '32-true' });
    for (let seed = 0; seed < 2; seed++) await train(stored, seed);
    const path = join(folder, 'from-32-true');
    await stored.fabric.save(path, { model: stored.model, optimizer: stored.optimizer });
    const [exact, rounded] = [await setUp({ precision: 'bf16-mixed' }), await setUp({ precision: 'bf16-true' })];
    for (const { fabric, model, optimizer } of [exact, rounded]) await fabric.load(path, { model, optimizer });
    const all = await values(stored.model);
    expect(await values(exact.model)).toEqual(all);
    const read = await values(rounded.model);
    expect(read).not.toEqual(all);
    // bfloat16 has 8 bits: half of the last one is at most 2^-8 of the value.
    for (const [i, value] of read.entries())
      expect(Math.abs(value - all[i]!)).toBeLessThanOrEqual(2 ** -8 * Math.abs(all[i]!));
    // The scale is a part of a run with an optimizer, and 32-true has stored none.
    const scaled = await setUp({ precision: '16-mixed' });
    await expect(scaled.fabric.load(path, { model: scaled.model, optimizer: scaled.optimizer })).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringContaining('loss scale'),
    });
    await scaled.fabric.load(path, { model: scaled.model });
    expect(await values(scaled.model)).toEqual(all);
  });

  describe('an overflow', () => {
    const scaled = (initialScale: number) =>
      setUp({ plugins: [new MixedPrecision('16-mixed', 'float16', new DynamicLossScaler({ initialScale }))] });

    it('of float16 in forward skips the step, brings the scale down, and leaves parameters as they were', async () => {
      const setup = await scaled(1024);
      await train(setup, 0);
      const { table } = setup.model.unwrapped;
      // Beyond what float16 holds, which ends at 65,504.
      table.updateOnHost((data) => data.fill(7e4));
      const before = await values(setup.model);
      const loss = await train(setup, 1);
      expect(loss).toBeNaN();
      expect(setup.fabric.lastStep).toMatchObject({ closed: true, stepped: false });
      expect(setup.fabric.precision.lossScaler.scale).toBe(512);
      expect(await values(setup.model)).toEqual(before);
      expect(setup.fabric.counts).toMatchObject({ steps: 1, skippedSteps: 1 });
    });

    it('of scaled gradients does the same, until they fit', async () => {
      const setup = await scaled(2 ** 127);
      const before = await values(setup.model);
      let skipped = 0;
      for (; skipped < 20 && setup.fabric.counts.steps === 0; skipped++) {
        const loss = await train(setup, 0);
        expect(Number.isFinite(loss)).toBe(true);
        if (setup.fabric.counts.steps === 0) expect(await values(setup.model)).toEqual(before);
      }
      expect(setup.fabric.counts).toMatchObject({ steps: 1, skippedSteps: skipped - 1 });
      expect(skipped).toBeGreaterThan(1);
      expect(setup.fabric.precision.lossScaler.scale).toBe(2 ** (128 - skipped));
      expect((await values(setup.model)).every(Number.isFinite)).toBe(true);
    });
  });

  it('halves take half the memory that activations take until backward has freed them, and the peak is lower', async () => {
    const shape = { hidden: 64, heads: 4, layers: 3, rows: 100 };
    const measured: { held: number; peak: number }[] = [];
    for (const precision of ['32-true', '16-mixed', 'bf16-mixed']) {
      const setup = await setUp({ precision }, shape);
      const { fabric, model } = setup;
      const batch = tokens(1, 512, shape.rows, 1);
      const lasting = (): number =>
        [memoryKinds.parameter, memoryKinds.gradient, memoryKinds.optimizerState].reduce(
          (sum, kind) => sum + (addon().memoryUsage().byKind[kind]?.currentBytes ?? 0),
          0,
        );
      let held = 0;
      // Twice: of the second micro-batch, gradients are there already.
      for (let round = 0; round < 2; round++) {
        addon().resetPeaks();
        const before = addon().memoryUsage().total.currentBytes;
        await fabric.backward(model, () => {
          const output = model.forward(batch);
          held = addon().memoryUsage().total.currentBytes - before;
          return output;
        });
      }
      measured.push({ held, peak: addon().memoryUsage().total.peakBytes - lasting() });
      tf.dispose([batch.ids, batch.labels]);
      for (const parameter of model.parameters()) parameter.dispose();
    }
    const [full, ...halves] = measured;
    for (const { held, peak } of halves) {
      expect(held / (full?.held as number)).toBeLessThan(0.55);
      expect(peak / (full?.peak as number)).toBeLessThan(0.75);
    }
  });
});

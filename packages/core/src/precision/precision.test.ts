import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Adam } from '../optimizers/adam.ts';
import { roundToFloat16 } from '../checkpoints/half.ts';
import { tf, type Tensor } from '../tensors.ts';
import { Fabric } from '../fabric/fabric.ts';
import { FakeAccelerator, LinearRegression, regressionBatches } from '../fabric/fabric.testing.ts';
import { HalfStoringAccelerator, lossBoundary } from './half-storing.testing.ts';
import { withActivationStorage } from './activation-storage.ts';
import { DynamicLossScaler } from './loss-scaler.ts';
import { MixedPrecision } from './mixed.ts';
import { precisions } from './precision.ts';
import { selectPrecision } from './select.ts';

const folder = mkdtempSync(join(tmpdir(), 'tensorloom-precision-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Fabric on halves with a scaler that grows every 5 steps. */
async function mixed(scaler = new DynamicLossScaler({ growthInterval: 5 })) {
  const accelerator = new HalfStoringAccelerator();
  class HalfRegression extends LinearRegression {
    override predict(inputs: Tensor): Tensor {
      return lossBoundary(accelerator, super.predict(inputs));
    }
  }
  const fabric = new Fabric({ accelerator, plugins: [new MixedPrecision('16-mixed', 'float16', scaler)] });
  await fabric.launch();
  const [model, optimizer] = await fabric.setup(
    new HalfRegression(),
    (parameters) => new Adam(parameters, { lr: 0.1 }),
  );
  const run = async (
    batches: number,
    seed = 7,
  ): Promise<{ scales: number[]; stepped: boolean[]; losses: number[] }> => {
    const seen = { scales: [] as number[], stepped: [] as boolean[], losses: [] as number[] };
    for await (const batch of fabric.setupDataLoader(regressionBatches(batches, 4, seed))) {
      const { loss } = await fabric.backward(model, () => model.forward(batch));
      seen.stepped.push(await fabric.step(optimizer));
      seen.losses.push(loss);
      seen.scales.push(scaler.scale);
    }
    return seen;
  };
  return { fabric, model, optimizer, scaler, run };
}

describe('16-mixed on an accelerator that stores halves', () => {
  it('overflows at first, backs off, skips those steps, then learns and grows its scale', async () => {
    const { fabric, scaler, run } = await mixed();
    const { scales, stepped, losses } = await run(80);
    const skipped = stepped.indexOf(true);
    expect(skipped).toBeGreaterThan(0);
    expect(stepped.slice(0, skipped).every((took) => !took)).toBe(true);
    expect(scales.slice(0, skipped)).toEqual(Array.from({ length: skipped }, (_, i) => 65536 / 2 ** (i + 1)));
    expect(Math.max(...scales.slice(skipped))).toBeGreaterThan(scales[skipped]!);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 20);
    expect(fabric.counts.skippedSteps).toBe(stepped.filter((took) => !took).length);
    expect(scaler.scale).toBe(scales.at(-1));
  });

  it('skipped steps change neither parameters nor moments', async () => {
    const { model, run } = await mixed();
    const before = [...(await model.weight.value.data())];
    const { stepped } = await run(1);
    expect(stepped).toEqual([false]);
    expect([...(await model.weight.value.data())]).toEqual(before);
  });

  it('takes the same steps as float32 to the precision of halves: gradients are unscaled', async () => {
    const half = await mixed(new DynamicLossScaler({ initialScale: 1024 }));
    await half.run(10);
    const fabric = new Fabric({ accelerator: 'cpu' });
    await fabric.launch();
    const [model, optimizer] = await fabric.setup(
      new LinearRegression(),
      (parameters) => new Adam(parameters, { lr: 0.1 }),
    );
    for await (const batch of fabric.setupDataLoader(regressionBatches(10))) {
      await fabric.backward(model, () => model.forward(batch));
      await fabric.step(optimizer);
    }
    const [expected, actual] = [await model.weight.value.data(), await half.model.weight.value.data()];
    expected.forEach((value, i) => expect(Math.abs(value - actual[i]!)).toBeLessThan(2e-3));
    expect([...actual]).not.toEqual([...expected]);
  });

  it('goes on bit for bit from a checkpoint, the loss scale and its count included', async () => {
    const whole = await mixed();
    await whole.run(13);
    const rest = await whole.run(9, 8);

    const first = await mixed();
    await first.run(13);
    const path = join(folder, 'resume');
    await first.fabric.save(path, { model: first.model, optimizer: first.optimizer });
    const second = await mixed();
    await second.fabric.load(path, { model: second.model, optimizer: second.optimizer });
    expect(second.scaler.stateDict().values).toEqual(first.scaler.stateDict().values);
    expect(second.fabric.counts).toEqual(first.fabric.counts);
    expect(await second.run(9, 8)).toEqual(rest);
    expect([...(await second.model.weight.value.data())]).toEqual([...(await whole.model.weight.value.data())]);
  });
});

describe('autocast', () => {
  const halves = () => new FakeAccelerator('halves', ['float16', 'bfloat16', 'float32']);

  it('sets the storage for the length of the call, nests, and restores it after an exception', () => {
    const accelerator = halves();
    const [sixteen, brain, full] = ['16-mixed', 'bf16-mixed', '32-true'].map((name) => precisions.get(name)());
    const seen: unknown[] = [];
    const look = () => seen.push(accelerator.activations);
    sixteen!.autocast(accelerator, () => {
      look();
      brain!.autocast(accelerator, () => {
        look();
        full!.autocast(accelerator, look);
        look();
      });
      expect(() =>
        brain!.autocast(accelerator, () => {
          throw new Error('inside');
        }),
      ).toThrow('inside');
      look();
    });
    look();
    expect(seen).toEqual(['float16', 'bfloat16', null, 'bfloat16', 'float16', null]);
  });

  it('refuses asynchronous functions and storages that the accelerator lacks', () => {
    const accelerator = halves();
    expect(() => withActivationStorage(accelerator, 'float16', async () => 1)).toThrow(
      expect.objectContaining({ code: 'MISUSE' }),
    );
    expect(accelerator.activations).toBeNull();
    const plain = { ...new FakeAccelerator('plain', ['float32']), name: 'plain', storages: ['float32'] } as never;
    expect(() => withActivationStorage(plain, 'float16', () => 1)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    );
    expect(withActivationStorage(plain, 'float32', () => 1)).toBe(1);
  });

  it('is what fabric.autocast and forward run under, and not what surrounds them', async () => {
    const accelerator = halves();
    const fabric = new Fabric({ accelerator, precision: 'bf16' });
    await fabric.launch();
    expect(fabric.autocast(() => accelerator.activations)).toBe('bfloat16');
    expect(accelerator.activations).toBeNull();
    class Looks extends LinearRegression {
      override forward(): never {
        return accelerator.activations as never;
      }
    }
    const model = await fabric.setup(new Looks());
    expect(model.forward()).toBe('bfloat16');
  });

  it('makes parameters in the storage of a true precision', async () => {
    const accelerator = new HalfStoringAccelerator();
    const fabric = new Fabric({ accelerator, precision: '16-true' });
    await fabric.launch();
    const model = await fabric.setup(new LinearRegression());
    for (const value of await model.weight.value.data()) expect(roundToFloat16(value)).toBe(value);
    expect([...(await model.weight.value.data())]).not.toEqual([...(await new LinearRegression().weight.value.data())]);
    const tensor = fabric.initTensor(() => tf.add(tf.scalar(1 / 3), 0));
    expect((await tensor.data())[0]).toBe(0.333251953125);
  });
});

describe('precision registry', () => {
  it('has the six of Lightning, each fresh when made', () => {
    expect(precisions.names().sort()).toEqual(['16-mixed', '16-true', '32-true', '64-true', 'bf16-mixed', 'bf16-true']);
    expect(selectPrecision('16-mixed').lossScaler).not.toBe(selectPrecision('16-mixed').lossScaler);
    expect(selectPrecision('16').lossScaler).toBeInstanceOf(DynamicLossScaler);
    expect(selectPrecision('bf16').lossScaler.scale).toBe(1);
  });
});

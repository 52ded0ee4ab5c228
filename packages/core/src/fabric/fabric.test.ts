import { describe, expect, it } from 'vitest';
import { SingleProcessGroup } from '../distributed/single-process-group.ts';
import { Adam } from '../optimizers/adam.ts';
import { TruePrecision } from '../precision/true.ts';
import { SingleDeviceStrategy } from '../strategies/single-device.ts';
import { tf, type Scalar } from '../tensors.ts';
import { Fabric } from './fabric.ts';
import {
  adam,
  FakeAccelerator,
  launched,
  LinearRegression,
  Parameterless,
  regressionBatches,
} from './fabric.testing.ts';
import type { FabricOptions } from './options.ts';

/** A matcher for a TensorloomError. */
const error = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('training with Fabric', () => {
  it('learns, and leaves no tensor behind from step to step', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam(0.1));
    const loader = fabric.setupDataLoader(regressionBatches(60));
    const losses: number[] = [];
    const tensors: number[] = [];
    for await (const batch of loader) {
      const { loss, predictions, items } = await fabric.backward(model, () => model.forward(batch));
      expect(predictions.isDisposed).toBe(false);
      expect(items).toBe(4);
      expect(await fabric.step(optimizer)).toBe(true);
      losses.push(loss);
      tensors.push(tf.memory().numTensors);
    }
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 20);
    expect(new Set(tensors.slice(2)).size).toBe(1);
    expect(fabric.counts).toMatchObject({ microBatches: 60, steps: 60, skippedSteps: 0 });
    expect(fabric.lastStep).toMatchObject({ closed: true, stepped: true, gradientNorm: expect.any(Number) });
  });

  it('takes a closure that returns the scalar alone', async () => {
    const fabric = await launched();
    const [model] = await fabric.setup(new LinearRegression(), adam());
    const { loss } = await fabric.backward(model, () => tf.tidy(() => model.weight.value.square().sum() as Scalar));
    expect(loss).toBeGreaterThan(0);
  });

  it('frees extra outputs with the next backward, but not what the closure only passed on', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    const batch = fabric.toDevice(regressionBatches(1)[0]!);
    const run = () => fabric.backward(model, () => ({ ...model.forward(batch), inputs: batch.inputs }));
    const first = await run();
    await fabric.step(optimizer);
    await run();
    expect(first.predictions.isDisposed).toBe(true);
    expect(batch.inputs.isDisposed).toBe(false);
  });

  it('gives the optimizer step through the wrapper, with its fields writable', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam(0.5));
    expect(optimizer.lr).toBe(0.5);
    optimizer.groups[0]!.lr = 0.25;
    expect(optimizer.unwrapped.lr).toBe(0.25);
    expect(optimizer).toBeInstanceOf(Adam);
    expect(model).toBeInstanceOf(LinearRegression);
  });

  it('sets up module and optimizers apart', async () => {
    const fabric = await launched();
    const model = await fabric.setupModule(new LinearRegression());
    const [optimizer] = fabric.setupOptimizers(model, adam());
    const batch = fabric.toDevice(regressionBatches(1)[0]!);
    await fabric.backward(model, () => model.forward(batch));
    expect(await fabric.step(optimizer)).toBe(true);
  });

  it('works as the base of a trainer, whose run finds it launched', async () => {
    class Trainer extends Fabric {
      override async run(factor: number): Promise<number> {
        expect(this.isLaunched).toBe(true);
        return factor * this.worldSize;
      }
    }
    expect(await new Trainer({ accelerator: 'cpu' }).run(3)).toBe(3);
    await expect(new Fabric({ accelerator: 'cpu' }).run()).rejects.toEqual(error('MISUSE', /override it/));
  });

  it('launches once, and runs a function when it has', async () => {
    const fabric = new Fabric({ accelerator: 'cpu' });
    await Promise.all([fabric.launch(), fabric.launch()]);
    expect(await fabric.launch((launchedFabric) => launchedFabric.device)).toBe('cpu:0');
    expect(fabric).toMatchObject({ isGlobalZero: true, globalRank: 0, localRank: 0, nodeRank: 0, worldSize: 1 });
  });
});

describe('misuse of Fabric', () => {
  it('before launch', async () => {
    const fabric = new Fabric({ accelerator: 'cpu' });
    const model = new LinearRegression();
    const notLaunched = error('NOT_LAUNCHED', /await fabric\.launch\(\)/);
    await expect(fabric.setup(model, adam())).rejects.toEqual(notLaunched);
    await expect(fabric.backward(model, () => tf.scalar(1))).rejects.toEqual(notLaunched);
    await expect(fabric.step(new Adam(model.parameters()))).rejects.toEqual(notLaunched);
    await expect(fabric.save('/nowhere', {})).rejects.toEqual(notLaunched);
    await expect(fabric.barrier()).rejects.toEqual(notLaunched);
    expect(() => fabric.setupDataLoader([])).toThrow(notLaunched);
    expect(() => fabric.autocast(() => 1)).toThrow(notLaunched);
    expect(() => fabric.device).toThrow(notLaunched);
  });

  it('of what was not set up', async () => {
    const fabric = await launched();
    const raw = new LinearRegression();
    const rawOptimizer = new Adam(raw.parameters());
    const [model] = await fabric.setup(raw, adam());
    await expect(fabric.backward(raw, () => tf.scalar(1))).rejects.toEqual(error('NOT_SET_UP', /await fabric\.setup/));
    await expect(fabric.step(rawOptimizer)).rejects.toEqual(error('NOT_SET_UP', /await fabric\.setup/));
    await expect(fabric.clipGradients(model, rawOptimizer, { clipNorm: 1 })).rejects.toEqual(
      error('NOT_SET_UP', /optimizer/),
    );
  });

  it('setting up twice, or what does not belong together', async () => {
    const fabric = await launched();
    const raw = new LinearRegression();
    const [model, optimizer] = await fabric.setup(raw, adam());
    await expect(fabric.setup(raw)).rejects.toEqual(error('MISUSE', /set up before/));
    await expect(fabric.setup(model)).rejects.toEqual(error('MISUSE', /set up before/));
    await expect(fabric.setup(new LinearRegression(), optimizer)).rejects.toEqual(
      error('MISUSE', /optimizer was set up before/),
    );
    await expect(fabric.setup(new Parameterless(), adam())).rejects.toEqual(
      error('MISUSE', /Parameterless has no parameters/),
    );
    await expect(fabric.setup(new LinearRegression(), new Adam(raw.parameters()))).rejects.toEqual(
      error('MISUSE', /2 of the optimizer's 2 parameters are not of LinearRegression/),
    );
    await expect(fabric.setup({} as never)).rejects.toEqual(error('MISUSE', /takes a Module/));
    expect(() => fabric.setupOptimizers(new LinearRegression() as never, adam())).toThrow(
      error('NOT_SET_UP', /module that was set up/),
    );
  });

  it('a refused set-up leaves the module as it was', async () => {
    const fabric = await launched();
    const raw = new LinearRegression();
    await expect(fabric.setup(raw, new Adam(new LinearRegression().parameters()))).rejects.toThrow();
    await expect(fabric.setup(raw, adam())).resolves.toHaveLength(2);
  });

  it('in what backward is given', async () => {
    const fabric = await launched();
    const [model] = await fabric.setup(new LinearRegression(), adam());
    const weight = () => model.weight.value;
    await expect(fabric.backward(model, () => weight().square() as never)).rejects.toEqual(
      error('MISUSE', /scalar loss.*shape \[2, 1\].*mean/),
    );
    await expect(fabric.backward(model, (async () => weight().sum()) as never)).rejects.toEqual(
      error('MISUSE', /synchronous/),
    );
    await expect(fabric.backward(model, () => ({ logits: weight() }) as never)).rejects.toEqual(
      error('MISUSE', /scalar loss/),
    );
    await expect(fabric.backward(model, weight().sum() as never)).rejects.toEqual(error('MISUSE', /takes a closure/));
    await expect(fabric.backward(model, () => weight().sum() as Scalar, { item: 3 } as never)).rejects.toEqual(
      error('BAD_OPTION', /unknown option 'item'. Did you mean 'items'/),
    );
    await expect(fabric.backward(model, () => weight().sum() as Scalar, { items: Number.NaN })).rejects.toEqual(
      error('BAD_OPTION', /items is NaN/),
    );
  });

  it('of a second backward before the first has ended', async () => {
    const fabric = await launched();
    const [model] = await fabric.setup(new LinearRegression(), adam());
    const compute = () => tf.tidy(() => model.weight.value.sum() as Scalar);
    const [first, second] = await Promise.allSettled([
      fabric.backward(model, compute),
      fabric.backward(model, compute),
    ]);
    expect(first.status).toBe('fulfilled');
    expect(second).toMatchObject({ status: 'rejected', reason: error('MISUSE', /await each call/) });
  });

  it('stepping or clipping without a gradient, or with options that do not go together', async () => {
    const fabric = await launched();
    const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
    await expect(fabric.step(optimizer)).rejects.toEqual(error('MISUSE', /without a fabric\.backward/));
    expect(await fabric.step(optimizer, { flush: true })).toBe(false);
    await expect(fabric.clipGradients(model, optimizer, { clipNorm: 1 })).rejects.toEqual(
      error('MISUSE', /without a fabric\.backward/),
    );
    await fabric.backward(model, () => tf.tidy(() => model.weight.value.sum() as Scalar));
    await expect(fabric.clipGradients(model, optimizer, {})).rejects.toEqual(
      error('CONFLICTING_OPTIONS', /exactly one.*got none/),
    );
    await expect(fabric.clipGradients(model, optimizer, { maxNorm: 1, clipValue: 1 })).rejects.toEqual(
      error('CONFLICTING_OPTIONS', /got maxNorm and clipValue/),
    );
    await expect(fabric.clipGradients(model, optimizer, { clipNorm: -1 })).rejects.toEqual(
      error('BAD_OPTION', /clipNorm is -1/),
    );
    await expect(fabric.step(optimizer, { clipNorm: 1, clipValue: 1 })).rejects.toEqual(
      error('CONFLICTING_OPTIONS', /clipNorm and clipValue/),
    );
    await expect(fabric.step(optimizer, { clipnorm: 1 } as never)).rejects.toEqual(
      error('BAD_OPTION', /Did you mean 'clipNorm'/),
    );
    expect(() => optimizer.step()).toThrow(error('MISUSE', /await fabric\.step\(optimizer\)/));
    expect(() => optimizer.zeroGrad()).toThrow(error('MISUSE', /open window/));
    await fabric.step(optimizer);
    expect(() => optimizer.zeroGrad()).not.toThrow();
  });

  it('of loaders', async () => {
    const fabric = await launched();
    expect(() => fabric.setupDataLoader(3 as never)).toThrow(error('MISUSE', /iterated over/));
    expect(() => fabric.setupDataLoader(fabric.setupDataLoader([1]) as never)).toThrow(
      error('MISUSE', /set up before/),
    );
  });
});

describe('options of Fabric', () => {
  const refuse = (options: unknown, code: string, message: RegExp): void => {
    expect(() => new Fabric(options as FabricOptions)).toThrow(error(code, message));
  };

  it('names unknown options, names and bad values', () => {
    refuse({ acelerator: 'cpu' }, 'BAD_OPTION', /unknown option 'acelerator'. Did you mean 'accelerator'\?/);
    refuse({ accelerator: 'gpu' }, 'UNKNOWN_NAME', /Unknown accelerator 'gpu'.*Known: .*wasm/);
    refuse({ strategy: 'singl' }, 'UNKNOWN_NAME', /Unknown strategy 'singl'. Did you mean 'single'/);
    refuse({ precision: '16-mix' }, 'UNKNOWN_NAME', /Unknown precision '16-mix'. Did you mean '16-mixed'/);
    refuse({ devices: 0 }, 'BAD_OPTION', /devices.*number of devices, 'auto' or a list/);
    refuse({ numNodes: 1.5 }, 'BAD_OPTION', /numNodes.*at least 1/);
    refuse({ threads: -1, maxSkippedSteps: 0 }, 'BAD_OPTION', /threads.*maxSkippedSteps/);
    refuse({ plugins: [{}] }, 'BAD_OPTION', /plugin 0 is neither/);
    refuse({ strategyOptions: { accumulate: 4 } }, 'BAD_OPTION', /accumulate/);
  });

  it('names conflicts', () => {
    refuse(
      { strategy: new SingleDeviceStrategy(), strategyOptions: {} },
      'CONFLICTING_OPTIONS',
      /instance \('single'\).*strategyOptions/,
    );
    refuse(
      { precision: '32', plugins: [new TruePrecision('mine', 'float32')] },
      'CONFLICTING_OPTIONS',
      /precision '32'.*plugin 'mine'/,
    );
    refuse(
      { plugins: [new SingleProcessGroup(), new SingleProcessGroup()] },
      'CONFLICTING_OPTIONS',
      /two plugins of kind processGroup/,
    );
    refuse({ devices: 2 }, 'CONFLICTING_OPTIONS', /'single' runs on one device, but 2/);
    refuse({ numNodes: 3, strategy: 'single' }, 'CONFLICTING_OPTIONS', /but 3/);
  });

  it('refuses pairs of accelerator and precision that do not exist, and lists those that do', async () => {
    for (const precision of ['16-mixed', 'bf16-mixed', '16-true', 'bf16-true', '64-true', 64, 16, 'bf16'])
      refuse(
        { accelerator: 'wasm', precision },
        'UNSUPPORTED',
        /Accelerator 'wasm' cannot do precision.*Pairs that exist: .*wasm with 32-true/,
      );
    await expect(new Fabric({ precision: '64-true' }).launch()).rejects.toEqual(
      error('UNSUPPORTED', /float64[^]*Pairs that exist/),
    );
    refuse({ accelerator: new FakeAccelerator('mine', ['float32']), precision: 16 }, 'UNSUPPORTED', /'mine'.*float16/);
  });

  it('knows short names of precisions', () => {
    const halves = new FakeAccelerator('halves', ['float16', 'bfloat16', 'float32', 'float64']);
    const names = ([64, '64', 32, 16, 'bf16'] as const).map(
      (precision) => new Fabric({ accelerator: halves, precision }).precision.name,
    );
    expect(names).toEqual(['64-true', '64-true', '32-true', '16-mixed', 'bf16-mixed']);
    expect(new Fabric().precision.name).toBe('32-true');
  });

  it('takes from a launcher what the script left open, and refuses what contradicts', () => {
    const withEnvironment = (variables: Record<string, string>, options: FabricOptions): Fabric => {
      Object.assign(process.env, variables);
      try {
        return new Fabric(options);
      } finally {
        for (const name of Object.keys(variables)) delete process.env[name];
      }
    };
    const halves = new FakeAccelerator('halves', ['float16', 'float32']);
    expect(withEnvironment({ TENSORLOOM_PRECISION: '16' }, { accelerator: halves }).precision.name).toBe('16-mixed');
    expect(
      withEnvironment({ TENSORLOOM_PRECISION: '16' }, { accelerator: halves, precision: '16-mixed' }).precision.name,
    ).toBe('16-mixed');
    expect(() => withEnvironment({ TENSORLOOM_PRECISION: 'bf16' }, { precision: 32 })).toThrow(
      error('CONFLICTING_OPTIONS', /script asks for precision '32'.*TENSORLOOM_PRECISION.*'bf16'/),
    );
    expect(() => withEnvironment({ TENSORLOOM_ACCELERATOR: 'wasm' }, { accelerator: 'cpu' })).toThrow(
      error('CONFLICTING_OPTIONS', /'cpu'.*'wasm'/),
    );
    expect(() => withEnvironment({ TENSORLOOM_DEVICES: 'two' }, {})).toThrow(
      error('BAD_OPTION', /TENSORLOOM_DEVICES is 'two'/),
    );
    expect(() => withEnvironment({ TENSORLOOM_STRATEGY: 'nope' }, { strategy: 'auto' })).toThrow(
      error('UNKNOWN_NAME', /'nope'/),
    );
  });
});

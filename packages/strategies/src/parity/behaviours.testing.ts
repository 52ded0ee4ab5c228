/** For tests: what strategies for several ranks do beyond plain steps, each as every rank of a group runs it. */
import {
  Adam,
  Fabric,
  linear,
  Module,
  Parameter,
  SGD,
  tf,
  type HeldBytes,
  type ProcessGroup,
  type Scalar,
  type Tensor,
} from '@tensorloom/core';
import '../index.ts';
import { tellError, type Scenario, type ToldError } from '../testing/scenario.testing.ts';
import { parityBatch, ParityModel } from './parity-model.testing.ts';
import { runParity, type ParityInput, type ParityResult } from './parity.testing.ts';

export interface BehavioursInput {
  readonly runs: readonly ParityInput[];
  readonly strategies: readonly string[];
}

/** By strategy. */
export interface Behaviours {
  readonly runs: readonly ParityResult[];
  readonly memory: Readonly<Record<string, { readonly before: HeldBytes; readonly after: HeldBytes }>>;
  readonly twoOptimizers: Readonly<Record<string, Float32Array>>;
  readonly withoutSync: Readonly<Record<string, Float32Array>>;
  readonly otherModule: ToldError;
  readonly failedForward: Float32Array;
  readonly failedBackward: ToldError;
}

async function launch(group: ProcessGroup, strategy: string, options: Record<string, unknown> = {}): Promise<Fabric> {
  const { worldSize } = group;
  const fabric = new Fabric({
    accelerator: 'cpu',
    strategy: worldSize === 1 ? 'accumulate' : strategy,
    strategyOptions: options,
    devices: worldSize,
    plugins: [group],
  });
  await fabric.launch();
  return fabric;
}

class Mlp extends Module {
  readonly first: Parameter;
  readonly second: Parameter;

  constructor(width: number) {
    super();
    this.first = new Parameter(tf.randomNormal([width, 64], 0, 1, 'float32', 1));
    this.second = new Parameter(tf.randomNormal([64, width], 0, 1, 'float32', 2));
  }

  override forward(input: Tensor): Scalar {
    return tf.tidy(() => tf.mean(linear(tf.tanh(linear(input, this.first)), this.second)) as Scalar);
  }
}

/** Held before and after the first step, gradients and moments being there. */
async function memory(group: ProcessGroup, strategy: string): Promise<{ before: HeldBytes; after: HeldBytes }> {
  const fabric = await launch(group, strategy, { bucketMegabytes: 0.05 });
  const [model, optimizer] = await fabric.setup(new Mlp(128), (parameters) => new Adam(parameters));
  await fabric.backward(model, () => model.forward(tf.ones([1, 64])));
  const before = fabric.strategy.heldBytes?.() as HeldBytes;
  await fabric.step(optimizer);
  const after = fabric.strategy.heldBytes?.() as HeldBytes;
  optimizer.dispose();
  model.dispose();
  return { before, after };
}

const MICRO_BATCHES = 4;
const STEPS = 3;

/** This rank's micro-batches of each step. */
function* shareOf(group: ProcessGroup): Generator<{ step: number; microBatch: number; isLast: boolean }> {
  for (let step = 0; step < STEPS; step++)
    for (let microBatch = group.rank; microBatch < MICRO_BATCHES; microBatch += group.worldSize)
      yield { step, microBatch, isLast: microBatch + group.worldSize >= MICRO_BATCHES };
}

function read(module: Module): Float32Array {
  return Float32Array.from(module.parameters().flatMap(({ value }) => [...value.dataSync()]));
}

/** Two optimizers of one module, of which the second leaves out a window: its gradients stay for the next. */
export async function twoOptimizers(group: ProcessGroup, strategy: string): Promise<Float32Array> {
  const fabric = await launch(group, strategy, { accumulate: MICRO_BATCHES / group.worldSize });
  const [model, first, second] = await fabric.setup(
    new ParityModel(7),
    (parameters) => new SGD(parameters.slice(0, 5), { lr: 0.1, momentum: 0.9 }),
    (parameters) => new Adam(parameters.slice(5), { lr: 1e-2, epsilon: 1e-3 }),
  );
  for (const { step, microBatch } of shareOf(group)) {
    await fabric.backward(model, () => model.forward(parityBatch(step, microBatch)));
    await fabric.step(first, { clipNorm: 0.3 });
    if (step !== 1) await fabric.step(second);
  }
  return read(model.unwrapped);
}

/** A window whose first or whose last backward sends nothing. */
export async function withoutSync(group: ProcessGroup, strategy: string): Promise<Float32Array> {
  const fabric = await launch(group, strategy, { accumulate: MICRO_BATCHES / group.worldSize });
  const [model, optimizer] = await fabric.setup(
    new ParityModel(7),
    (parameters) => new SGD(parameters, { lr: 0.1, momentum: 0.9 }),
  );
  for (const { step, microBatch, isLast } of shareOf(group)) {
    await fabric.noBackwardSync(model, step === 1 ? isLast : !isLast, () =>
      fabric.backward(model, () => model.forward(parityBatch(step, microBatch))),
    );
    await fabric.step(optimizer);
  }
  return read(model.unwrapped);
}

async function errorOf(fn: () => Promise<unknown>): Promise<ToldError> {
  try {
    await fn();
  } catch (error) {
    return tellError(error);
  }
  return { code: undefined, message: '(no error)' };
}

/** A module that is wider on rank 1. */
async function otherModule(group: ProcessGroup): Promise<ToldError> {
  const fabric = await launch(group, 'ddp');
  return errorOf(() => fabric.setup(new Mlp(128 + group.rank)));
}

/** A forward that fails on one rank may be tried again. */
async function failedForward(group: ProcessGroup): Promise<Float32Array> {
  const fabric = await launch(group, 'ddp');
  const [model, optimizer] = await fabric.setup(new Mlp(8), (parameters) => new SGD(parameters, { lr: 0.1 }));
  for (let step = 0; step < 2; step++) {
    if (group.rank === 1)
      await errorOf(() =>
        fabric.backward(model, () => {
          throw new Error('no data');
        }),
      );
    await fabric.backward(model, () => model.forward(tf.ones([1, 64])));
    await fabric.step(optimizer);
  }
  return read(model.unwrapped);
}

/** A walk backwards that fails on rank 1 when others have begun to wait for its gradients. The group is of no use after it. */
async function failedBackward(group: ProcessGroup): Promise<ToldError> {
  const fabric = await launch(group, 'ddp', { bucketMegabytes: 1e-3 });
  const [model, optimizer] = await fabric.setup(new Mlp(8), (parameters) => new SGD(parameters, { lr: 0.1 }));
  const failing = tf.customGrad((x) => ({
    value: (x as Tensor).clone(),
    gradFunc: () => {
      throw new Error('no gradient today');
    },
  }));
  return errorOf(async () => {
    for (let step = 0; step < 2; step++) {
      const fails = step === 1 && group.rank === 1;
      await fabric.backward(model, () =>
        tf.tidy(() => {
          const hidden = linear(tf.ones([1, 64]), model.unwrapped.first);
          return tf.mean(linear(fails ? failing(hidden) : hidden, model.unwrapped.second)) as Scalar;
        }),
      );
      await fabric.step(optimizer);
    }
  });
}

/** Runs on every rank. */
export const scenario: Scenario<BehavioursInput, Behaviours> = async (group, { runs, strategies }) => {
  const byStrategy = async <T>(run: (group: ProcessGroup, strategy: string) => Promise<T>) => {
    const results: Record<string, T> = {};
    for (const strategy of strategies) results[strategy] = await run(group, strategy);
    return results;
  };
  const results: ParityResult[] = [];
  for (const run of runs) results.push(await runParity(group, run));
  return {
    runs: results,
    memory: await byStrategy(memory),
    twoOptimizers: await byStrategy(twoOptimizers),
    withoutSync: await byStrategy(withoutSync),
    otherModule: await otherModule(group),
    failedForward: await failedForward(group),
    failedBackward: await failedBackward(group),
  };
};

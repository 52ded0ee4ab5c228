/** For tests: some steps of a small model under a strategy, as every rank of a group runs them. */
import { createHash } from 'node:crypto';
import {
  Adam,
  AdamW,
  Fabric,
  SGD,
  tf,
  type HeldBytes,
  type Module,
  type Optimizer,
  type Parameter,
  type ProcessGroup,
  type StoredState,
} from '@tensorloom/core';
import '../index.ts';
import type { Scenario } from '../testing/scenario.testing.ts';
import { parityBatch, ParityModel } from './parity-model.testing.ts';

/** A run, as plain data. */
export interface ParityInput {
  readonly strategy: string;
  /** Beyond `accumulate`, which follows from the number of micro-batches. */
  readonly options?: Readonly<Record<string, unknown>>;
  readonly optimizer: 'adam' | 'adamw' | 'sgd' | 'sgd-plain' | 'groups';
  /** Micro-batches of a step, shared out among the ranks: a multiple of their number. */
  readonly microBatches: number;
  readonly steps: number;
  readonly clip?: { readonly clipNorm?: number; readonly clipValue?: number };
  readonly accelerator?: string;
  readonly tied?: boolean;
  /** The module is another one on each rank until it is set up. */
  readonly seedByRank?: boolean;
  /** Save after this many micro-batches of all ranks, and end. */
  readonly stop?: { readonly after: number; readonly folder: string };
  /** Load, and go on after this many micro-batches of all ranks. */
  readonly resume?: { readonly after: number; readonly folder: string };
  /** The loss of this step's last micro-batch is NaN on the last rank. */
  readonly spoilStep?: number;
  /** The window is flushed after half of this step's micro-batches, and once more at its end. */
  readonly flushStep?: number;
}

export interface ParityResult {
  /** All parameters, end to end. */
  readonly parameters: Float32Array;
  readonly digest: string;
  readonly norms: readonly number[];
  readonly stepped: readonly boolean[];
  /** Held when the last window was about to close, and after it. */
  readonly before: HeldBytes | undefined;
  readonly after: HeldBytes | undefined;
  /** tfjs's tensors after each step. */
  readonly tensors: readonly number[];
}

const optimizers: Readonly<Record<ParityInput['optimizer'], (parameters: Parameter[]) => Optimizer>> = {
  adam: (parameters) => new Adam(parameters, { lr: 1e-2, epsilon: 1e-3 }),
  adamw: (parameters) => new AdamW(parameters, { lr: 1e-2, epsilon: 1e-3, weightDecay: 0.1 }),
  sgd: (parameters) => new SGD(parameters, { lr: 0.1, momentum: 0.9 }),
  'sgd-plain': (parameters) => new SGD(parameters, { lr: 0.1 }),
  groups: (parameters) =>
    new Adam([
      { parameters: parameters.slice(0, 4), lr: 1e-2, epsilon: 1e-3, weightDecay: 0.1 },
      { parameters: parameters.slice(4), lr: 3e-3, epsilon: 1e-3 },
    ]),
};

async function start(group: ProcessGroup, input: ParityInput) {
  const { strategy, options, microBatches, accelerator = 'cpu' } = input;
  const fabric = new Fabric({
    accelerator,
    strategy,
    strategyOptions: { accumulate: microBatches / group.worldSize, ...options },
    // Of each host that the ranks pretend to be on.
    devices: group.worldSize / Number(process.env['TENSORLOOM_TEST_NODES'] ?? 1),
    plugins: [group],
  });
  await fabric.launch();
  const module = new ParityModel(input.seedByRank === true ? 7 + group.rank : 7, input.tied);
  const [model, optimizer] = await fabric.setup(module, optimizers[input.optimizer]);
  return { fabric, module, model, optimizer };
}

/** Runs on every rank: one run after the other. */
export const scenario: Scenario<readonly ParityInput[], ParityResult[]> = async (group, inputs) => {
  const results: ParityResult[] = [];
  for (const input of inputs) results.push(await runParity(group, input));
  return results;
};

/** One run of one rank. */
export async function runParity(group: ProcessGroup, input: ParityInput): Promise<ParityResult> {
  const { microBatches, steps, stop, resume } = input;
  const { fabric, module, model, optimizer } = await start(group, input);
  if (resume !== undefined) await fabric.load(resume.folder, { model, optimizer });
  const norms: number[] = [];
  const stepped: boolean[] = [];
  const tensors: number[] = [];
  let before: HeldBytes | undefined;
  const end = stop?.after ?? steps * microBatches;
  for (let done = (resume?.after ?? 0) + group.rank; done < end; done += group.worldSize) {
    const [step, microBatch] = [Math.floor(done / microBatches), done % microBatches];
    await fabric.backward(model, () => {
      const output = model.forward(parityBatch(step, microBatch));
      const spoiled = input.spoilStep === step && microBatch === microBatches - 1;
      return spoiled ? { ...output, loss: tf.mul(output.loss, NaN) as tf.Scalar } : output;
    });
    before = fabric.strategy.heldBytes?.();
    const half = Math.floor(microBatch / group.worldSize) + 1 === microBatches / group.worldSize / 2;
    const flush = input.flushStep === step && half;
    const took = await fabric.step(optimizer, { ...input.clip, ...(flush && { flush }) });
    const { lastStep } = fabric;
    if (lastStep?.closed !== true) continue;
    stepped.push(took);
    norms.push(lastStep.gradientNorm ?? NaN);
    tensors.push(tf.memory().numTensors);
  }
  const after = fabric.strategy.heldBytes?.();
  if (stop !== undefined) await fabric.save(stop.folder, { model, optimizer });
  const parameters = await wholeParameters(fabric, module);
  const digest = createHash('sha256').update(new Uint8Array(parameters.buffer)).digest('hex');
  optimizer.dispose();
  module.dispose();
  return { parameters, digest, norms, stepped, before, after, tensors };
}

/** Whatever the strategy keeps where. */
async function wholeParameters(fabric: Fabric, module: Module): Promise<Float32Array> {
  const { strategy } = fabric;
  const read = (values: readonly Float32Array[]) => Float32Array.from(values.flatMap((each) => [...each]));
  if (strategy.withWholeModule === undefined)
    return read(module.parameters().map(({ value }) => value.dataSync<'float32'>()));
  const whole = await strategy.withWholeModule(module, (state: StoredState) =>
    Promise.resolve(read([...state.tensors.values()].map((stored) => stored.read().data as Float32Array))),
  );
  return Float32Array.from(await fabric.broadcast([...(whole ?? [])]));
}

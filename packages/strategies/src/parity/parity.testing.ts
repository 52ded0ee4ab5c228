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
  /** Save after this many micro-batches of this rank, and go on with all made anew. */
  readonly interruptAfter?: number;
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
    devices: group.worldSize,
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
  let run = await start(group, input);
  const norms: number[] = [];
  const stepped: boolean[] = [];
  const tensors: number[] = [];
  let before: HeldBytes | undefined;
  let done = 0;
  for (let step = 0; step < input.steps; step++) {
    const own = Array.from({ length: input.microBatches }, (_, i) => i).filter(
      (i) => i % group.worldSize === group.rank,
    );
    for (const [i, microBatch] of own.entries()) {
      const spoiled = input.spoilStep === step && microBatch === input.microBatches - 1;
      await run.fabric.backward(run.model, () => {
        const output = run.model.forward(parityBatch(step, microBatch));
        return spoiled ? { ...output, loss: tf.mul(output.loss, NaN) as tf.Scalar } : output;
      });
      if (++done === input.interruptAfter) run = await interrupted(run, group, input);
      before = run.fabric.strategy.heldBytes?.();
      const flush = input.flushStep === step && i + 1 === own.length / 2;
      const took = await run.fabric.step(run.optimizer, { ...input.clip, ...(flush && { flush }) });
      const { lastStep } = run.fabric;
      if (lastStep?.closed !== true) continue;
      stepped.push(took);
      norms.push(lastStep.gradientNorm ?? NaN);
      tensors.push(tf.memory().numTensors);
    }
  }
  const after = run.fabric.strategy.heldBytes?.();
  const parameters = await wholeParameters(run.fabric, run.module);
  const digest = createHash('sha256').update(new Uint8Array(parameters.buffer)).digest('hex');
  run.optimizer.dispose();
  run.module.dispose();
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

/** Kill and resume by way of a checkpoint on disk. */
async function interrupted(run: Awaited<ReturnType<typeof start>>, group: ProcessGroup, input: ParityInput) {
  await Promise.reject(new Error(`not yet: ${run.fabric.worldSize} ${group.name} ${input.strategy}`));
  return run;
}

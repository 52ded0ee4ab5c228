/** For tests: setting a stack up under a strategy, training it, and reading all of it. */
import { createHash } from 'node:crypto';
import { Adam, Fabric, type HeldBytes, type Parameter, type ProcessGroup } from '@tensorloom/core';
import '../index.ts';
import { SMALL, Stack, stackBatch, type StackShape } from './fsdp-model.testing.ts';

/** Plain data in, plain data out. */
export interface FsdpInput {
  /** Name of what is run: see `fsdp.testing.ts`. */
  readonly run: string;
  readonly strategy?: string;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly shape?: Partial<StackShape>;
  readonly folder?: string;
  readonly microBatches?: number;
  readonly steps?: number;
}

export interface FsdpResult {
  readonly parameters?: number[];
  readonly digest?: string;
  readonly logits?: number[][];
  readonly held?: HeldBytes;
  readonly numbers?: number[];
  readonly text?: string;
  readonly code?: string;
}

export interface Run {
  readonly fabric: Fabric;
  readonly module: Stack;
  readonly model: Stack;
  readonly shape: StackShape;
  readonly microBatches: number;
}

export async function start(group: ProcessGroup, input: FsdpInput): Promise<Run> {
  const { strategy = 'fsdp', options, microBatches = group.worldSize } = input;
  const fabric = new Fabric({
    accelerator: 'cpu',
    strategy,
    strategyOptions: { accumulate: microBatches / group.worldSize, ...options },
    devices: group.worldSize,
    plugins: [group],
  });
  await fabric.launch();
  const shape = { ...SMALL, ...input.shape };
  // Another module on each rank until it is set up.
  const module = new Stack(shape, 3 + group.rank);
  return { fabric, module, model: module, shape, microBatches };
}

export const adam = (parameters: Parameter[]) => new Adam(parameters, { lr: 1e-2, epsilon: 1e-3 });

export async function setUp(group: ProcessGroup, input: FsdpInput) {
  const run = await start(group, input);
  const [model, optimizer] = await run.fabric.setup(run.module, adam);
  return { ...run, model, optimizer };
}

export type SetUp = Awaited<ReturnType<typeof setUp>>;

/** This rank's micro-batches of a step. */
export function shareOf({ fabric, microBatches }: Run): number[] {
  return Array.from({ length: microBatches }, (_, i) => i).filter((i) => i % fabric.worldSize === fabric.globalRank);
}

export async function train(run: SetUp, from: number, to: number): Promise<void> {
  for (let step = from; step < to; step++)
    for (const microBatch of shareOf(run)) {
      const batch = stackBatch(run.shape, step * 16 + microBatch);
      await run.fabric.backward(run.model, () => run.model.forward(batch));
      await run.fabric.step(run.optimizer, { clipNorm: 0.5 });
    }
}

export async function whole({
  fabric,
  model,
}: Pick<Run, 'fabric' | 'model'>): Promise<Required<Pick<FsdpResult, 'parameters' | 'digest'>>> {
  const read = await fabric.withWholeModule(model, (state) =>
    Promise.resolve([...state.tensors.values()].flatMap((stored) => [...stored.read().data])),
  );
  const parameters = await fabric.broadcast(read ?? []);
  const digest = createHash('sha256').update(Float32Array.from(parameters)).digest('hex');
  return { parameters, digest };
}

export function end(run: SetUp): void {
  run.optimizer.dispose();
  run.module.dispose();
}

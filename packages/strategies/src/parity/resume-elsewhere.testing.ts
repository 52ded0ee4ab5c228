/** For tests: a part of a run of a small model under one strategy, from a checkpoint to a checkpoint, as every rank of a group runs it. */
import { AdamW, Fabric, type ProcessGroup, type StoredState } from '@tensorloom/core';
import '../index.ts';
import type { Scenario } from '../testing/scenario.testing.ts';
import { parityBatch, ParityModel } from './parity-model.testing.ts';

/** Micro-batches of a step, over all ranks: a multiple of every world size tried. */
export const MICRO_BATCHES = 12;

/** Plain data. Micro-batches are counted over all ranks and steps. */
export interface Leg {
  readonly strategy: string;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly from: number;
  readonly to: number;
  /** Checkpoint to load before the first micro-batch. */
  readonly load?: string;
  /** Checkpoint to save after the last. */
  readonly save?: string;
}

export interface LegResult {
  /** All parameters, end to end. */
  readonly parameters: Float32Array;
  readonly steps: number;
}

export const scenario: Scenario<readonly Leg[], LegResult[]> = async (group, legs) => {
  const results: LegResult[] = [];
  for (const leg of legs) results.push(await runLeg(group, leg));
  return results;
};

/** One leg on one rank. */
export async function runLeg(group: ProcessGroup, leg: Leg): Promise<LegResult> {
  const fabric = new Fabric({
    accelerator: 'cpu',
    strategy: leg.strategy,
    strategyOptions: { accumulate: MICRO_BATCHES / group.worldSize, ...leg.options },
    devices: group.worldSize,
    plugins: [group],
  });
  await fabric.launch();
  // Parameters of its own: what is right at the end came out of the checkpoint.
  const module = new ParityModel(leg.load === undefined ? 7 : 99);
  const [model, optimizer] = await fabric.setup(
    module,
    (parameters) => new AdamW(parameters, { lr: 1e-2, epsilon: 1e-3, weightDecay: 0.1 }),
  );
  const state = { model, optimizer };
  if (leg.load !== undefined) await fabric.load(leg.load, state);
  for (let done = leg.from; done < leg.to; done++) {
    const [step, microBatch] = [Math.floor(done / MICRO_BATCHES), done % MICRO_BATCHES];
    if (microBatch % group.worldSize !== group.rank) continue;
    await fabric.backward(model, () => model.forward(parityBatch(step, microBatch)));
    await fabric.step(optimizer, { clipNorm: 0.3 });
  }
  if (leg.save !== undefined) await fabric.save(leg.save, state);
  const whole = await fabric.withWholeModule(model, (stored) => Promise.resolve(endToEnd(stored)));
  const parameters = Float32Array.from(await fabric.broadcast([...(whole ?? [])]));
  const { steps } = fabric.counts;
  optimizer.dispose();
  module.dispose();
  return { parameters, steps };
}

/** By name, so that files and modules come to the same. */
export function endToEnd({ tensors }: StoredState): Float32Array {
  const names = [...tensors.keys()].sort();
  return Float32Array.from(names.flatMap((name) => [...tensors.get(name)!.read().data]));
}

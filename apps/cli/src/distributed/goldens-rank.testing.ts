/** For tests: a thread that is one of the ranks which spread an optimizer run of a reference case among them. */
import { parentPort, workerData } from 'node:worker_threads';
import { Fabric, type StoredState } from '@tensorloom/core';
import { LocalProcessGroup } from '@tensorloom/strategies';
import { readBatches } from '../verify/case-batches.ts';
import { buildModel, buildOptimizer, runMicroBatch } from '../verify/case-model.ts';
import type { ModelCase, OptimizerSection } from '../verify/model-case.ts';
import { closeCases, readReferenceFolder } from '../verify/reference-folder.ts';

export interface GoldenRankData {
  readonly rank: number;
  readonly worldSize: number;
  readonly memory: SharedArrayBuffer;
  readonly accelerator: string;
  readonly folder: string;
  readonly caseName: string;
  /** Optimizer runs of the case, each by each strategy. */
  readonly tags: readonly string[];
  readonly strategies: readonly string[];
}

export interface GoldenRun {
  readonly strategy: string;
  readonly tag: string;
  /** After the run, by name; null on the other ranks if only rank zero has them. */
  readonly parameters: ReadonlyMap<string, Float32Array> | null;
  readonly norms: readonly number[];
  /** Of this rank's micro-batches. */
  readonly losses: readonly number[];
}

async function run(data: GoldenRankData): Promise<GoldenRun[]> {
  const cases = readReferenceFolder(data.folder);
  const read = cases.find((each): each is ModelCase => each.kind === 'model' && each.name === data.caseName);
  if (read === undefined) throw new Error(`no case ${data.caseName} in ${data.folder}`);
  const runs: GoldenRun[] = [];
  try {
    for (const tag of data.tags) {
      const section = read.optimizers.find((each) => each.tag === tag);
      if (section === undefined) throw new Error(`${data.caseName} has no optimizer run ${tag}`);
      for (const strategy of data.strategies) runs.push(await runSection(data, read, section, strategy));
    }
  } finally {
    closeCases(cases);
  }
  return runs;
}

/** Micro-batches go to the ranks in turn, so that each window is shared by all. */
async function runSection(
  { rank, worldSize, memory, accelerator }: GoldenRankData,
  read: ModelCase,
  section: OptimizerSection,
  strategy: string,
): Promise<GoldenRun> {
  const { tag, algorithm, options, steps, accumulate } = section;
  const fabric = new Fabric({
    accelerator,
    threads: 1,
    strategy,
    strategyOptions: { accumulate: accumulate / worldSize },
    devices: worldSize,
    plugins: [(group ??= new LocalProcessGroup({ rank, worldSize, memory }))],
  });
  await fabric.launch();
  const [model, optimizer] = await fabric.setup(buildModel(read.config, read.head, read.weights), (parameters) =>
    buildOptimizer(algorithm, options, parameters),
  );
  const norms: number[] = [];
  const losses: number[] = [];
  for (const [index, batch] of readBatches(read)
    .slice(0, steps * accumulate)
    .entries()) {
    if (index % worldSize !== rank) continue;
    losses.push(await runMicroBatch(fabric, model, batch));
    const clip = options.max_norm === undefined ? {} : { clipNorm: options.max_norm };
    if (await fabric.step(optimizer, clip)) norms.push(fabric.lastStep?.gradientNorm ?? NaN);
  }
  // Where each rank holds a part of the parameters, rank zero gets to see them.
  const readAll = (tensors: StoredState['tensors']) =>
    Promise.resolve(new Map([...tensors].map(([name, stored]) => [name, Float32Array.from(stored.read().data)])));
  const parameters =
    fabric.strategy.withWholeModule === undefined
      ? new Map([...model.namedParameters()].map(([name, { value }]) => [name, Float32Array.from(value.dataSync())]))
      : ((await fabric.strategy.withWholeModule(model.unwrapped, ({ tensors }) => readAll(tensors))) ?? null);
  optimizer.dispose();
  model.dispose();
  return { strategy, tag, parameters, norms, losses };
}

/** All runs of a thread share one. */
let group: LocalProcessGroup | undefined;

parentPort?.postMessage(await run(workerData as GoldenRankData));

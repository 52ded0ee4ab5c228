/** PyTorch's accumulated and clipped steps, with the micro-batches of each window spread over ranks. */
import { localMemory } from '@tensorloom/strategies';
import { beforeAll, describe, expect, it } from 'vitest';
import { PARAMETER_ABSOLUTE, lossBound, normBound, stillParameterBound } from '../verify/bounds.ts';
import { readBatches } from '../verify/case-batches.ts';
import { buildModel, buildOptimizer, launchFabric, runMicroBatch } from '../verify/case-model.ts';
import { BLOOM_CASES } from '../verify/fixtures.testing.ts';
import { SmallestGradients } from '../verify/gradients.ts';
import type { ModelCase, OptimizerSection } from '../verify/model-case.ts';
import { strictElements } from '../verify/parameter-bounds.ts';
import { readReferenceFolder } from '../verify/reference-folder.ts';
import type { GoldenRankData, GoldenRun } from './goldens-rank.testing.ts';
import { whyNotNative } from '../testing/native.testing.ts';
import { runRankThreads } from './rank-threads.testing.ts';

const CASE = 'tiny';
const TAGS = ['accumulate', 'clip'];
const STRATEGIES = ['ddp', 'zero1', 'zero2', 'fsdp'];
const TIMEOUT_MS = 240_000;

/** Runs on `worldSize` ranks, each a thread. By rank. */
function runRanks(accelerator: string, worldSize: number): Promise<GoldenRun[][]> {
  const memory = localMemory(worldSize);
  return runRankThreads<GoldenRun[]>(
    new URL('./goldens-rank.testing.ts', import.meta.url),
    worldSize,
    (rank): GoldenRankData => ({
      rank,
      worldSize,
      memory,
      accelerator,
      folder: BLOOM_CASES,
      caseName: CASE,
      tags: TAGS,
      strategies: STRATEGIES,
    }),
  );
}

/** Where gradients of a window cancel out, Adam makes a step of rounding noise: one process shows where that is. */
async function smallestGradients(read: ModelCase, section: OptimizerSection): Promise<SmallestGradients> {
  const { options, algorithm, steps, accumulate } = section;
  const fabric = await launchFabric({ accelerator: 'cpu' }, accumulate);
  const [model, optimizer] = await fabric.setup(buildModel(read.config, read.head, read.weights), (parameters) =>
    buildOptimizer(algorithm, options, parameters),
  );
  const smallest = new SmallestGradients();
  for (const [index, batch] of readBatches(read)
    .slice(0, steps * accumulate)
    .entries()) {
    await runMicroBatch(fabric, model, batch);
    if ((index + 1) % accumulate === 0) smallest.add(model.namedParameters(), accumulate);
    await fabric.step(optimizer, options.max_norm === undefined ? {} : { clipNorm: options.max_norm });
  }
  optimizer.dispose();
  model.dispose();
  return smallest;
}

const native = await whyNotNative();
const worlds: readonly (readonly [accelerator: string, worldSize: number])[] = [
  ['cpu', 2],
  ['cpu', 4],
  ...(native === null ? ([['native', 2]] as const) : []),
];

describe.each(worlds)('on %s, %i ranks', (accelerator, worldSize) => {
  let read: ModelCase;
  let ranks: GoldenRun[][] = [];
  beforeAll(async () => {
    read = readReferenceFolder(BLOOM_CASES).find((each) => each.kind === 'model' && each.name === CASE) as ModelCase;
    ranks = await runRanks(accelerator, worldSize);
  }, TIMEOUT_MS);

  describe.each(TAGS)("the case's run '%s' gives PyTorch's losses, norms and parameters", (tag) => {
    let section: OptimizerSection;
    let smallest: SmallestGradients;
    beforeAll(async () => {
      section = read.optimizers.find((each) => each.tag === tag) as OptimizerSection;
      smallest = await smallestGradients(read, section);
    });

    it.each(STRATEGIES)('by %s', (strategy) => {
      for (const [rank, runs] of ranks.entries()) {
        const run = runs.find((each) => each.strategy === strategy && each.tag === tag) as GoldenRun;
        const losses = (section.losses ?? []).filter((_, i) => i % worldSize === rank);
        expect(run.losses).toHaveLength(losses.length);
        for (const [i, loss] of losses.entries())
          expect(Math.abs((run.losses[i] as number) - loss)).toBeLessThan(lossBound(loss));
        expect(run.norms).toHaveLength(section.steps);
        for (const [i, norm] of (section.norms ?? []).entries())
          expect(Math.abs((run.norms[i] as number) - norm)).toBeLessThan(normBound(norm));
        if (rank === 0 || run.parameters !== null) compareParameters(read, section, run, smallest);
      }
    });
  });
});

function compareParameters(
  read: ModelCase,
  { tag, options, steps }: OptimizerSection,
  run: GoldenRun,
  smallest: SmallestGradients,
): void {
  const gradients = read.tensors.parameterGroup('grads');
  let strict = 0;
  for (const [name, stored] of read.tensors.parameterGroup(tag)) {
    const expected = stored.read().data;
    const actual = run.parameters?.get(name) as Float32Array;
    const referenceGradient = gradients.get(name)?.read().data ?? new Float32Array(expected.length);
    const moves = strictElements({ actual, expected, referenceGradient, smallestOwn: (i) => smallest.of(name, i) });
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      const difference = Math.abs((actual[i] as number) - (expected[i] as number));
      const bound = moves(i) ? PARAMETER_ABSOLUTE : stillParameterBound(options.lr, steps);
      worst = Math.max(worst, difference / bound);
      if (moves(i)) strict++;
    }
    expect(worst, `${run.strategy} ${tag} ${name}`).toBeLessThanOrEqual(1);
  }
  expect(strict).toBeGreaterThan(1000);
}

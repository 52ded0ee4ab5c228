/** One optimizer run of a model case: steps of accumulated micro-batches, then the parameters. */
import { lossBound, normBound, PARAMETER_ABSOLUTE, stillParameterBound } from './bounds.ts';
import type { CaseBatch } from './case-batches.ts';
import { buildModel, buildOptimizer, launchFabric, runMicroBatch, type VerifyDevice } from './case-model.ts';
import { Comparison } from './comparison.ts';
import { SmallestGradients } from './gradients.ts';
import { strictElements } from './parameter-bounds.ts';
import type { ModelCase, OptimizerSection } from './model-case.ts';

/**
 * @param batches all micro-batches of the case; the run takes them from the first on
 * @param gradients of micro-batch 0, which tell where a parameter's gradient is zero, if the case has none of its own
 */
export async function runOptimizerSection(
  read: ModelCase,
  section: OptimizerSection,
  batches: readonly CaseBatch[],
  gradients: ReadonlyMap<string, Float32Array>,
  device: VerifyDevice,
): Promise<Comparison[]> {
  const { tag, options, steps, accumulate } = section;
  const fabric = await launchFabric(device, accumulate);
  const [model, optimizer] = await fabric.setup(buildModel(read.config, read.head, read.weights), (parameters) =>
    buildOptimizer(section.algorithm, options, parameters),
  );
  const clip = {
    ...(options.max_norm === undefined ? {} : { clipNorm: options.max_norm }),
    ...(options.max_value === undefined ? {} : { clipValue: options.max_value }),
  };
  const losses: number[] = [];
  const norms: number[] = [];
  const smallest = new SmallestGradients();
  for (const [index, batch] of batches.slice(0, steps * accumulate).entries()) {
    losses.push(await runMicroBatch(fabric, model, batch));
    // Only Adam's steps are as large for a small gradient as for a large one.
    if ((index + 1) % accumulate === 0 && section.algorithm !== 'sgd')
      smallest.add(model.namedParameters(), accumulate);
    if (await fabric.step(optimizer, clip)) norms.push(fabric.lastStep?.gradientNorm ?? NaN);
  }
  const result = [
    compareScalars(read.name, tag, 'losses', losses, section.losses, lossBound),
    compareScalars(read.name, tag, 'norms', norms, section.norms, normBound),
    ...compareParameters(
      read,
      section,
      new Map(
        [...model.namedParameters()].map(([name, parameter]) => [name, parameter.value.dataSync() as Float32Array]),
      ),
      gradients,
      smallest,
    ),
  ];
  optimizer.dispose();
  model.dispose();
  return result;
}

function compareScalars(
  caseName: string,
  tag: string,
  what: 'losses' | 'norms',
  actual: readonly number[],
  expected: readonly number[] | undefined,
  bound: (reference: number) => number,
): Comparison {
  const comparison = new Comparison(caseName, `${tag} ${what}`);
  for (const [index, reference] of expected?.entries() ?? [])
    comparison.value(`scalars.${tag}_${what}[${index}]`, actual[index] ?? NaN, reference, bound(reference));
  return comparison;
}

/** Two lines: parameters with a gradient, and those without, whose bound is wider (see `bounds.ts`). */
function compareParameters(
  read: ModelCase,
  section: OptimizerSection,
  parameters: ReadonlyMap<string, Float32Array>,
  gradients: ReadonlyMap<string, Float32Array>,
  smallest: SmallestGradients,
): Comparison[] {
  const { tag, options, steps } = section;
  const moving = new Comparison(read.name, `${tag} parameters`);
  const still = new Comparison(read.name, `${tag} parameters without gradient`);
  const stillBound = stillParameterBound(options.lr, steps);
  const references = read.tensors.parameterGroup('grads');
  for (const [name, tensor] of read.tensors.parameterGroup(tag)) {
    const expected = tensor.read().data;
    const actual = parameters.get(name) ?? [];
    const gradient = references.get(name)?.read().data ?? gradients.get(name) ?? new Float32Array(expected.length);
    const smallestOwn = (index: number): number => smallest.of(name, index);
    const moves = strictElements({ actual, expected, referenceGradient: gradient, smallestOwn });
    moving.tensor(`${tag}/${name}`, actual, expected, (index) => (moves(index) ? PARAMETER_ABSOLUTE : undefined));
    still.tensor(`${tag}/${name}`, actual, expected, (index) => (moves(index) ? undefined : stillBound));
  }
  return [moving, still];
}

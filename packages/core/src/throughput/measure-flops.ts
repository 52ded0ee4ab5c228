/** Floating-point operations of a forward, or of a forward and backward, counted from the kernels that really run. */
import { backward, type LossOutput } from '../autograd/backward.ts';
import type { Module } from '../modules/module.ts';
import { Registry } from '../registry.ts';
import { globalRandom } from '../random.ts';
import { tf } from '../tensors.ts';

/** FLOPs of one run of a kernel. Shapes come in the order of the kernel's inputs and outputs; absent inputs are null. */
export type FlopCounter = (
  inputShapes: readonly (readonly number[] | null)[],
  outputShapes: readonly (readonly number[])[],
) => number;

/**
 * Counters by name of a tfjs kernel. As usual for model FLOPs, only products of matrices and convolutions count, a multiplication and an
 * addition as two; what is done element by element is a small part and counts as nothing. A backend with kernels of its own registers theirs.
 */
export const flopCounters = new Registry<FlopCounter>('FLOP counter');

const product: FlopCounter = ([a], [output]) => {
  if (a === undefined || a === null || output === undefined) return 0;
  // a is [..., m, k] or, transposed, [..., k, m]; output is [..., m, n].
  const inner = ((a.at(-1) ?? 1) * (a.at(-2) ?? 1)) / Math.max(1, output.at(-2) ?? 1);
  return 2 * sizeOf(output) * inner;
};
/** The filter is [height, width, inputs, outputs]; each output element is a sum over the first three. */
const convolution: FlopCounter = ([, filter], [output]) =>
  filter === undefined || filter === null || output === undefined
    ? 0
    : 2 * sizeOf(output) * sizeOf(filter.slice(0, -1));

for (const name of ['BatchMatMul', '_FusedMatMul']) flopCounters.register(name, product);
for (const name of ['Conv2D', 'FusedConv2D']) flopCounters.register(name, convolution);

/**
 * Runs `compute` (synchronous; a forward that returns a tensor, or an object with some) once and adds up `flopCounters` over its kernels.
 * With `backward`, its loss is differentiated with respect to the module's parameters too; their gradients, and the global random generator,
 * are afterwards what they were.
 *
 * @returns FLOPs of this micro-batch, for `Throughput` and `ThroughputMonitor`
 * @throws TensorloomError `MISUSE` as `backward` does; what `compute` throws
 */
export function measureFlops(
  module: Module,
  compute: () => tf.TensorContainer,
  options?: { readonly backward?: false },
): number;
export function measureFlops(module: Module, compute: () => LossOutput, options: { readonly backward: true }): number;
export function measureFlops(
  module: Module,
  compute: () => unknown,
  options: { readonly backward?: boolean } = {},
): number {
  const parameters = module.parameters();
  const gradients = parameters.map((parameter) => parameter.grad);
  const random = globalRandom().stateDict();
  for (const parameter of parameters) parameter.grad = null;
  try {
    return countWhile(() =>
      tf.tidy(() => {
        if (options.backward === true) backward(compute as () => LossOutput, { parameters });
        else compute();
      }),
    );
  } finally {
    for (const [i, parameter] of parameters.entries()) {
      parameter.zeroGrad();
      parameter.grad = gradients[i] ?? null;
    }
    globalRandom().loadStateDict({ tensors: new Map(), values: random.values });
  }
}

/** FLOPs of the kernels that run during `fn`. A kernel may run others (tensorflow's fused product does): only the outermost that has a counter counts. */
function countWhile(fn: () => void): number {
  const engine = tf.engine();
  const runKernel = engine.runKernel.bind(engine);
  let total = 0;
  let isInside = false;
  const counted = (name: string, inputs: tf.NamedTensorMap, attributes?: tf.NamedAttrMap): unknown => {
    if (isInside || !flopCounters.has(name)) return runKernel(name, inputs, attributes);
    isInside = true;
    try {
      const result: tf.Tensor | tf.Tensor[] = runKernel(name, inputs, attributes);
      const outputs = Array.isArray(result) ? result : [result];
      total += flopCounters.get(name)(
        Object.values(inputs as Record<string, tf.Tensor | null | undefined>).map((input) => input?.shape ?? null),
        outputs.map(({ shape }) => shape),
      );
      return result;
    } finally {
      isInside = false;
    }
  };
  // An own property hides the method of the class until it is deleted.
  Object.defineProperty(engine, 'runKernel', { configurable: true, value: counted });
  try {
    fn();
  } finally {
    Reflect.deleteProperty(engine, 'runKernel');
  }
  return total;
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, n) => size * n, 1);
}

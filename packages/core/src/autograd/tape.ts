/** Typed access to the parts of tfjs's engine that automatic differentiation needs. The only file that knows them. */
import type { Gradient } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';

/** In the place of a gradient: the operation has added it into the parameter's `grad` itself. */
export const added: unique symbol = Symbol('added');

/** One function per input. */
export type GradientFunctions = Readonly<Record<string, (() => Gradient | typeof added) | undefined>>;

/** One recorded operation. `gradient` maps d(loss)/d(outputs) to one function per input, which computes that input's part. */
export interface TapeNode {
  readonly id: number;
  readonly kernelName: string;
  readonly inputs: Readonly<Record<string, Tensor | undefined>>;
  readonly outputs: readonly Tensor[];
  readonly saved?: readonly Tensor[];
  readonly gradient?: (outputGradients: readonly (Tensor | null)[]) => GradientFunctions;
}

/**
 * What `recordOp` needs: a forward that may save tensors, and a backward that gets them back. `needed` names the inputs whose
 * gradients will be asked for; all of them where the walk is not ours (`tf.grads`).
 */
export interface RecordedOp {
  readonly inputs: Readonly<Record<string, Tensor>>;
  forward(save: (tensors: readonly Tensor[]) => void): Tensor;
  backward(outputGradient: Tensor, saved: readonly Tensor[], needed: readonly string[]): GradientFunctions;
}

interface EngineInternals {
  readonly state: {
    activeTape: TapeNode[] | null;
    readonly gradientDepth: number;
    readonly kernelDepth: number;
    readonly activeScope: { readonly id: number } | null;
  };
  nextTensorId(): number;
  startTape(): void;
  endTape(): void;
  runKernelFunc(operation: {
    inputs: Readonly<Record<string, Tensor>>;
    forwardFunc: (backend: unknown, save: (tensors: Tensor[]) => void) => Tensor;
    backwardsFunc: (outputGradient: Tensor, saved: Tensor[]) => GradientFunctions;
  }): Tensor;
}

function internals(): EngineInternals {
  return tf.engine() as unknown as EngineInternals;
}

/** Whether a tape is being recorded (or an operation is running), so that another one cannot be started. */
export function isRecording(): boolean {
  const { gradientDepth, kernelDepth } = internals().state;
  return gradientDepth > 0 || kernelDepth > 0;
}

/** Whether what is computed now goes on a tape. */
export function isTapeOn(): boolean {
  const { activeTape, gradientDepth, kernelDepth } = internals().state;
  return activeTape !== null && gradientDepth > 0 && kernelDepth === 0;
}

export interface Recording<T> {
  readonly result: T;
  readonly tape: TapeNode[];
  /** Tensors made while recording have greater ids. */
  readonly firstId: number;
}

/**
 * Runs `fn` in a tidy of its own with the tape on. The tensors of what it returns survive; those that the operations
 * saved survive too and are the caller's to free (`freeSaved`). If `fn` throws, nothing of it is left behind.
 */
export function record<T>(fn: () => T): Recording<T> {
  const engine = internals();
  const firstId = engine.nextTensorId();
  engine.startTape();
  let result: T;
  try {
    result = tf.tidy(fn as () => tf.TensorContainer) as T;
  } catch (error) {
    const tape = engine.state.activeTape ?? [];
    engine.endTape();
    engine.state.activeTape = null;
    tape.forEach(freeSaved);
    // An operation that threw after saving is not on the tape itself, but the clones that it saved are.
    for (const node of tape) if (isSavedClone(node)) for (const output of node.outputs) output.dispose();
    throw error;
  }
  const tape = engine.state.activeTape ?? [];
  engine.endTape();
  engine.state.activeTape = null;
  return { result, tape, firstId };
}

/** Frees what a node saved for its gradient; a second call does nothing. */
export function freeSaved(node: TapeNode): void {
  for (const tensor of node.saved ?? []) tensor.dispose();
}

/** The engine saves a tensor as a kept clone and puts the cloning on the tape as well, as an operation without a kernel's name. */
function isSavedClone(node: TapeNode): boolean {
  const inputs = Object.keys(node.inputs);
  return inputs.length === 1 && inputs[0] === 'x' && node.outputs[0]?.kept === true && !isKernel(node.kernelName);
}

/** Whether the active backend has a kernel of this name. */
export function isKernel(name: string): boolean {
  return (tf.getKernel(name, tf.getBackend()) as tf.KernelConfig | undefined) !== undefined;
}

/** Id of the innermost tidy, which owns the tensors made in it. */
export function activeScopeId(): number {
  return internals().state.activeScope?.id ?? -1;
}

/** Inputs whose gradients the walk asks the current node for; the engine hands gradient functions no such list. */
let neededInputs: readonly string[] | null = null;

/** The gradient functions of a node, of which only those of the inputs `needed` will be called. */
export function gradientsOf(
  gradient: NonNullable<TapeNode['gradient']>,
  outputGradients: readonly (Tensor | null)[],
  needed: readonly string[],
): GradientFunctions {
  // A gradient may be computed by a walk of its own.
  const outer = neededInputs;
  neededInputs = needed;
  try {
    return gradient(outputGradients);
  } finally {
    neededInputs = outer;
  }
}

/** Runs an operation with an analytical gradient. Its inner operations are not recorded; without a tape nothing is saved. */
export function recordOp(op: RecordedOp): Tensor {
  return internals().runKernelFunc({
    inputs: op.inputs,
    forwardFunc: (_backend, save) => op.forward((tensors) => save([...tensors])),
    backwardsFunc: (outputGradient, saved) =>
      op.backward(outputGradient, saved, neededInputs ?? Object.keys(op.inputs)),
  });
}

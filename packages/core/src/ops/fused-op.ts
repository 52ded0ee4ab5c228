/** How fused operations are defined: an analytical gradient, composed of tfjs operations unless the backend has a kernel of the operation's name. */
import { isKernel, recordOp } from '../autograd/tape.ts';
import type { Parameter } from '../modules/parameter.ts';
import { tf, type Tensor } from '../tensors.ts';

/** Operations take a parameter wherever a weight is meant. */
export type TensorOrParameter = Tensor | Parameter;

/** What forward keeps for backward: inputs, and residuals by name. */
interface Held<Input extends string> {
  readonly saves: readonly Input[];
  readonly residuals: readonly string[];
}

type Tensors<Names extends string> = Readonly<Record<Names, Tensor>>;

/**
 * A fused operation. `Input` names its tensors (optional ones may be absent), `Residual` what forward computes and backward
 * needs besides inputs, `Attributes` are its constants.
 *
 * A backend takes it over by registering two tfjs kernels: `NAME`, with the inputs and attributes, which returns
 * `[output, ...residuals in the order of `residuals`]`, and `NAMEGrad`, with the inputs `outputGradient`, those in `saves`
 * and the residuals, and with the attributes and `gradientsOf`: the names of the inputs whose gradients are needed, in the
 * order of `differentiates`. It returns the gradients of these, or (where all cost no more) those of all inputs in
 * `differentiates` that are not absent. Where `kernel` is given, its `saves` and `residuals` are meant.
 */
export interface FusedOpDefinition<Input extends string, Residual extends string, Attributes extends object> {
  /** Name of the kernel that replaces the composite, in CamelCase. */
  readonly name: string;
  /** Inputs that backward needs. They are not copied; one given as a parameter is not held but read again. */
  readonly saves: readonly Input[];
  /** Names of what forward returns for backward. */
  readonly residuals: readonly Residual[];
  /** What kernels hold for backward, where that is not what the composite holds: they can compute more again at no cost. */
  readonly kernel?: Held<Input>;
  /** Inputs that have a gradient. */
  readonly differentiates: readonly Input[];
  /** Runs in a tidy of its own. */
  forward(inputs: Tensors<Input>, attributes: Attributes): { readonly output: Tensor } & Tensors<Residual>;
  /**
   * Runs in a tidy of its own and returns one function per input, of which only those that are needed are called.
   * Each of them runs in a tidy too, so what several of them share must be computed outside.
   */
  backward(
    outputGradient: Tensor,
    saved: Tensors<Input | Residual>,
    attributes: Attributes,
  ): Partial<Readonly<Record<Input, () => Tensor>>>;
}

/** The function that applies a fused operation, recording it when a tape is on. Absent inputs are left out of the record. */
export function fusedOp<Input extends string, Residual extends string, Attributes extends object>(
  definition: FusedOpDefinition<Input, Residual, Attributes>,
): (inputs: Readonly<Partial<Record<Input, TensorOrParameter>>>, attributes: Attributes) => Tensor {
  return (given, attributes) => {
    const inputs = tensorsOf(given);
    const fused = hasKernel(definition.name);
    const { saves, residuals }: Held<Input> = (fused ? definition.kernel : undefined) ?? definition;
    const neededInputs = saves.filter((name) => inputs[name] !== undefined);
    // A saved tensor would keep a sharded parameter's whole value alive until backward.
    const savedInputs = neededInputs.filter((name) => given[name] instanceof tf.Tensor);
    const reread = neededInputs.filter((name) => !(given[name] instanceof tf.Tensor));
    return recordOp({
      inputs,
      forward(save) {
        const results: Readonly<Record<string, Tensor>> = fused
          ? runForwardKernel(definition.name, residuals, inputs, attributes)
          : definition.forward(inputs as Tensors<Input>, attributes);
        save([
          ...savedInputs.map((name) => inputs[name] as Tensor),
          ...residuals.map((name) => results[name] as Tensor),
        ]);
        return results['output'] as Tensor;
      },
      backward(outputGradient, savedTensors, needed) {
        const names = [...savedInputs, ...residuals];
        const held = new Map<string, Tensor | undefined>(names.map((name, i) => [name, savedTensors[i]]));
        for (const name of reread) held.set(name, tensorOf(given[name] as TensorOrParameter));
        // Kernels are promised this order.
        const saved = Object.fromEntries(
          [...neededInputs, ...residuals].map((name) => [name, held.get(name)]),
        ) as Tensors<Input | Residual>;
        const differentiated = definition.differentiates.filter((name) => inputs[name] !== undefined);
        return fused
          ? runGradientKernel(definition.name, outputGradient, saved, attributes, differentiated, needed)
          : definition.backward(outputGradient, saved, attributes);
      },
    });
  };
}

/** Whether the active backend has kernels of this name, for both directions. */
export function hasKernel(name: string): boolean {
  return isKernel(name) && isKernel(`${name}Grad`);
}

/** The tensors of `given`, with parameters replaced by their values and absent ones left out. */
export function tensorsOf(given: Readonly<Record<string, TensorOrParameter | undefined>>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, tensorOf(value)]])),
  );
}

/** The tensor itself, or the parameter's value. */
export function tensorOf(value: TensorOrParameter): Tensor {
  return value instanceof tf.Tensor ? value : value.value;
}

function runForwardKernel(
  name: string,
  residuals: readonly string[],
  inputs: Record<string, Tensor>,
  attributes: object,
): Record<string, Tensor> {
  const results = runKernel(name, inputs, attributes);
  return Object.fromEntries(['output', ...residuals].map((key, i) => [key, results[i] as Tensor]));
}

function runGradientKernel(
  name: string,
  outputGradient: Tensor,
  saved: Readonly<Record<string, Tensor>>,
  attributes: object,
  differentiated: readonly string[],
  needed: readonly string[],
): Record<string, () => Tensor> {
  const gradientsOf = differentiated.filter((input) => needed.includes(input));
  const gradients = runKernel(`${name}Grad`, { outputGradient, ...saved }, { ...attributes, gradientsOf });
  const names = gradients.length === gradientsOf.length ? gradientsOf : differentiated;
  return Object.fromEntries(names.map((input, i) => [input, () => gradients[i] as Tensor]));
}

/** Runs a kernel of the active backend by name; its outputs as a list. */
export function runKernel(name: string, inputs: Record<string, Tensor>, attributes: object): Tensor[] {
  const result: Tensor | Tensor[] = tf.engine().runKernel(name, inputs, attributes as tf.NamedAttrMap);
  return Array.isArray(result) ? result : [result];
}

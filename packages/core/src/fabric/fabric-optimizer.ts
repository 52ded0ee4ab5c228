/** The optimizer that `fabric.setup` returns: stepped by `fabric.step` only, so that strategy and loss scaler have their part. */
import { TensorloomError } from '../errors.ts';
import type { Module } from '../modules/module.ts';
import type { Parameter } from '../modules/parameter.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';

/** A set-up optimizer: `O` itself, except that `step` is refused and so is `zeroGrad` while gradients are accumulating. */
export type FabricOptimizer<O extends Optimizer> = O & {
  /** The optimizer as it was before `setup`. */
  readonly unwrapped: O;
};

/** An optimizer, or what makes one of the module's parameters. */
export type OptimizerInput<O extends Optimizer = Optimizer> = O | ((parameters: Parameter[]) => O);

const originals = new WeakMap<object, Optimizer>();

/** The optimizer behind a wrapper; any other value as it is. */
export function unwrapOptimizer<T>(value: T): T | Optimizer {
  return (typeof value === 'object' && value !== null && originals.get(value)) || value;
}

export function isFabricOptimizer(value: unknown): boolean {
  return typeof value === 'object' && value !== null && originals.has(value);
}

/** @param isAccumulating whether a window is open, whose gradients must not be cleared */
export function wrapOptimizer<O extends Optimizer>(optimizer: O, isAccumulating: () => boolean): FabricOptimizer<O> {
  const refuseStep = (): never => {
    throw new TensorloomError(
      'MISUSE',
      'A set-up optimizer is stepped by `await fabric.step(optimizer)`, which reduces, unscales and clips first; do not call step() on it.',
    );
  };
  const zeroGrad = (): void => {
    if (isAccumulating())
      throw new TensorloomError(
        'MISUSE',
        'zeroGrad() would drop the gradients of an open window; `fabric.step` clears them itself once they are used.',
      );
    optimizer.zeroGrad();
  };
  const proxy = new Proxy(optimizer, {
    get(target, key) {
      if (key === 'unwrapped') return target;
      if (key === 'step') return refuseStep;
      if (key === 'zeroGrad') return zeroGrad;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' && key !== 'constructor'
        ? (value as (...args: unknown[]) => unknown).bind(target)
        : value;
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  }) as FabricOptimizer<O>;
  originals.set(proxy, optimizer);
  return proxy;
}

/**
 * Makes the optimizer of a factory and checks that what it optimizes is the module's.
 * @throws TensorloomError `MISUSE`
 */
export function makeOptimizer<O extends Optimizer>(input: OptimizerInput<O>, module: Module): O {
  const parameters = module.parameters();
  if (parameters.length === 0)
    throw new TensorloomError(
      'MISUSE',
      `${module.constructor.name} has no parameters, so there is nothing to optimize; set it up without an optimizer.`,
    );
  const optimizer = typeof input === 'function' ? input(parameters) : input;
  if (typeof (optimizer as Partial<Optimizer> | undefined)?.step !== 'function')
    throw new TensorloomError('MISUSE', 'setup takes optimizers, or functions from parameters to an optimizer.');
  const own = new Set(parameters);
  const foreign = optimizer.parameters.filter((parameter) => !own.has(parameter));
  if (foreign.length > 0)
    throw new TensorloomError(
      'MISUSE',
      `${foreign.length} of the optimizer's ${optimizer.parameters.length} parameters are not of ${module.constructor.name} (first: '${foreign[0]?.name || 'unnamed'}'). ` +
        'Make it of the parameters of the module that is set up, for instance by a factory: (parameters) => new Adam(parameters, { lr }).',
    );
  return optimizer;
}

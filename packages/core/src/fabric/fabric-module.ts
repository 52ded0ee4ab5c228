/** The module that `fabric.setup` returns: forward runs under the precision, everything else is the module's own. */
import type { Accelerator, FloatStorage } from '../accelerators/accelerator.ts';
import { TensorloomError } from '../errors.ts';
import { Module } from '../modules/module.ts';
import type { Parameter } from '../modules/parameter.ts';
import { withActivationStorage } from '../precision/activation-storage.ts';
import type { Precision } from '../precision/precision.ts';
import { tf, type Tensor } from '../tensors.ts';

/** A set-up module: `M` itself, whose `forward` (and methods marked as such) run under the precision. */
export type FabricModule<M extends Module> = M & {
  /** The module as it was before `setup`. */
  readonly unwrapped: M;
  /** Lets another method compute with parameters, under the precision, as `forward` does: `generate`, `loss`. */
  markForwardMethod(name: keyof M & string): void;
};

const originals = new WeakMap<object, Module>();

/** The module behind a wrapper; any other value as it is. */
export function unwrapModule<T>(value: T): T | Module {
  return (typeof value === 'object' && value !== null && originals.get(value)) || value;
}

export function isFabricModule(value: unknown): boolean {
  return typeof value === 'object' && value !== null && originals.has(value);
}

/** Names of Module's own interface: what they do with parameters is not a computation. */
const moduleApi = new Set<string | symbol>(Object.getOwnPropertyNames(Module.prototype));

/**
 * Wraps `module`. A method other than `forward` may be called through the wrapper, but reading a parameter in it is
 * an error unless it is marked: it would compute outside the precision and outside the strategy's sight.
 */
export function wrapModule<M extends Module>(
  module: M,
  accelerator: Accelerator,
  precision: Precision,
): FabricModule<M> {
  const forwardMethods = new Set<string | symbol>(['forward']);
  const guard = new ParameterGuard(module);
  const asForward =
    (method: (...args: unknown[]) => unknown) =>
    (...args: unknown[]) =>
      guard.lifted(() => precision.autocast(accelerator, () => Reflect.apply(method, module, args)));
  const extras = {
    unwrapped: module,
    markForwardMethod: (name: string): void => {
      if (typeof Reflect.get(module, name) !== 'function')
        throw new TensorloomError(
          'MISUSE',
          `markForwardMethod('${name}'): ${module.constructor.name} has no method of that name.`,
        );
      forwardMethods.add(name);
    },
  };
  const proxy = new Proxy(module, {
    get(target, key) {
      if (key === 'unwrapped' || key === 'markForwardMethod') return extras[key] as unknown;
      // The receiver is the module itself, so that its private fields work.
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function' || key === 'constructor') return value;
      const method = value as (...args: unknown[]) => unknown;
      if (forwardMethods.has(key)) return asForward(method);
      if (key === 'loadStateDict')
        return (...args: unknown[]) =>
          withActivationStorage(accelerator, precision.parameterStorage, () => Reflect.apply(method, target, args));
      if (moduleApi.has(key)) return method.bind(target);
      return (...args: unknown[]) => guard.during(String(key), () => Reflect.apply(method, target, args));
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  }) as FabricModule<M>;
  originals.set(proxy, module);
  return proxy;
}

/** While a method that is not a forward runs, reading a parameter's value is an error. */
class ParameterGuard {
  readonly #module: Module;
  #liftedDepth = 0;

  constructor(module: Module) {
    this.#module = module;
  }

  lifted<T>(fn: () => T): T {
    this.#liftedDepth++;
    try {
      return fn();
    } finally {
      this.#liftedDepth--;
    }
  }

  /** `fn` may be asynchronous: the guard holds until it settles. */
  during(method: string, fn: () => unknown): unknown {
    if (this.#liftedDepth > 0) return fn();
    const guarded = [...this.#module.namedParameters()].filter(([, parameter]) => !Object.hasOwn(parameter, 'value'));
    for (const [name, parameter] of guarded) this.#watch(parameter, method, name);
    const release = (): void => {
      for (const [, parameter] of guarded) Reflect.deleteProperty(parameter, 'value');
    };
    let result: unknown;
    try {
      result = fn();
    } catch (error) {
      release();
      throw error;
    }
    if (result instanceof Promise) return result.finally(release);
    release();
    return result;
  }

  /** An own property hides the accessor of the class until it is deleted. */
  #watch(parameter: Parameter, method: string, name: string): void {
    const refuse = (): never => {
      const owner = this.#module.constructor.name;
      throw new TensorloomError(
        'MISUSE',
        `${owner}.${method} reads parameter '${name}' outside forward, so that precision and strategy do not see it. ` +
          `Call forward, or allow it with model.markForwardMethod('${method}').`,
      );
    };
    const read = (): Tensor => (this.#liftedDepth > 0 ? valueBehind(parameter) : refuse());
    Object.defineProperty(parameter, 'value', { configurable: true, get: read });
  }
}

function valueBehind(parameter: Parameter): Tensor {
  return Reflect.get(Object.getPrototypeOf(parameter) as object, 'value', parameter) as Tensor;
}

/** Stores every parameter anew, as `storage`. */
export function restoreParameters(module: Module, accelerator: Accelerator, storage: FloatStorage): void {
  withActivationStorage(accelerator, storage, () => {
    for (const parameter of module.parameters()) {
      parameter.assign(tf.tidy(() => tf.add(parameter.value, 0)));
      parameter.storage = storage;
    }
  });
}

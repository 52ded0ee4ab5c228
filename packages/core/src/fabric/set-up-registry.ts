/** What has been set up with a Fabric, and the refusals of what has not, or has twice. */
import { TensorloomError } from '../errors.ts';
import { Module } from '../modules/module.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import { isFabricModule, unwrapModule } from './fabric-module.ts';
import { isFabricOptimizer, makeOptimizer, unwrapOptimizer, type OptimizerInput } from './fabric-optimizer.ts';

export class SetUpRegistry {
  readonly #known = new WeakSet<Module | Optimizer>();

  add(...pieces: readonly (Module | Optimizer)[]): void {
    for (const piece of pieces) this.#known.add(piece);
  }

  /** @throws TensorloomError `MISUSE` if `module` is none, or was set up before */
  checkNew(module: unknown, call: string): void {
    if (isFabricModule(module) || (module instanceof Module && this.#known.has(module)))
      throw new TensorloomError(
        'MISUSE',
        `fabric.${call}: this module was set up before; use what the first call returned.`,
      );
    if (!(module instanceof Module))
      throw new TensorloomError(
        'MISUSE',
        `fabric.${call} takes a Module; got ${module === null ? 'null' : typeof module}.`,
      );
  }

  /** @throws TensorloomError `NOT_SET_UP` */
  moduleBehind(model: unknown, call: string): Module {
    if (!isFabricModule(model))
      throw new TensorloomError(
        'NOT_SET_UP',
        `fabric.${call} takes a module that was set up; use what \`await fabric.setup(module, ...)\` returned.`,
      );
    return unwrapModule(model) as Module;
  }

  /** @throws TensorloomError `NOT_SET_UP` */
  optimizerBehind(optimizer: unknown, call: string): Optimizer {
    if (!isFabricOptimizer(optimizer))
      throw new TensorloomError(
        'NOT_SET_UP',
        `fabric.${call} takes an optimizer that was set up; use what \`await fabric.setup(module, optimizer)\` returned.`,
      );
    return unwrapOptimizer(optimizer) as Optimizer;
  }

  /** @throws TensorloomError `MISUSE` if it was set up before, or does not optimize `module` */
  makeOptimizer(input: OptimizerInput, module: Module): Optimizer {
    if (isFabricOptimizer(input) || (typeof input === 'object' && this.#known.has(input)))
      throw new TensorloomError('MISUSE', 'This optimizer was set up before; use what the first call returned.');
    return makeOptimizer(input, module);
  }
}

/** Runs something before and after the forward of one module instance, whoever calls it. */
import type { Module } from './module.ts';

/** What is run around a forward. */
export interface ForwardHooks {
  before?(): void;
  /** Runs also when forward throws. */
  after?(): void;
}

const hooksOf = new WeakMap<Module, Set<ForwardHooks>>();

/**
 * Adds `hooks` to `module.forward`. Of several hooks, those added later run inside those added earlier.
 * @returns removes them again
 */
export function hookForward(module: Module, hooks: ForwardHooks): () => void {
  // An object of its own, so that the same hooks may be added twice.
  const entry: ForwardHooks = { before: () => hooks.before?.(), after: () => hooks.after?.() };
  const existing = hooksOf.get(module);
  if (existing !== undefined) existing.add(entry);
  else install(module, new Set([entry]));
  return () => {
    hooksOf.get(module)?.delete(entry);
  };
}

/** The wrapper stays in place: what runs inside may have taken hold of it. */
function install(module: Module, hooks: Set<ForwardHooks>): void {
  hooksOf.set(module, hooks);
  const forward = Reflect.get(module, 'forward') as (...inputs: unknown[]) => unknown;
  const hooked = (...inputs: unknown[]): unknown => {
    const entered: ForwardHooks[] = [];
    try {
      for (const entry of [...hooks]) {
        entered.push(entry);
        entry.before?.();
      }
      return Reflect.apply(forward, module, inputs);
    } finally {
      for (const entry of entered.reverse()) entry.after?.();
    }
  };
  // Not enumerable: it is no field of the module.
  Object.defineProperty(module, 'forward', { value: hooked, configurable: true, enumerable: false, writable: true });
}

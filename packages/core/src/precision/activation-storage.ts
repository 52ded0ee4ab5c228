/** Switches how an accelerator stores new activations, for the length of a call; calls nest. */
import type { Accelerator, FloatStorage } from '../accelerators/accelerator.ts';
import { TensorloomError } from '../errors.ts';

const current = new WeakMap<Accelerator, FloatStorage>();
/** What the innermost call has set. */
let innermost: { readonly accelerator: Accelerator; readonly storage: FloatStorage } | null = null;

/** Runs a function, later, with new float tensors stored as they are stored now. */
export function withSameActivationStorage(): <T>(fn: () => T) => T {
  const now = innermost;
  return (fn) => (now === null ? fn() : withActivationStorage(now.accelerator, now.storage, fn));
}

/** Runs the synchronous `fn`, a loss, with new float tensors stored as float32, whatever is set. */
export function withFloat32Activations<T>(fn: () => T): T {
  return innermost === null ? fn() : withActivationStorage(innermost.accelerator, 'float32', fn);
}

/**
 * Runs the synchronous `fn` with new float tensors stored as `storage`; what was set before comes back, also after an exception.
 * @throws TensorloomError `UNSUPPORTED` if the accelerator cannot store that, `MISUSE` if `fn` is asynchronous: its
 *   later part would run in another storage
 */
export function withActivationStorage<T>(accelerator: Accelerator, storage: FloatStorage, fn: () => T): T {
  const before = current.get(accelerator) ?? 'float32';
  if (before !== storage && accelerator.setActivationStorage === undefined)
    throw new TensorloomError(
      'UNSUPPORTED',
      `Accelerator '${accelerator.name}' stores ${accelerator.storages.join(', ')} only, not ${storage}.`,
    );
  const outer = innermost;
  innermost = { accelerator, storage };
  if (before !== storage) set(accelerator, storage);
  try {
    return synchronous(fn());
  } finally {
    innermost = outer;
    if (before !== storage) set(accelerator, before);
  }
}

function set(accelerator: Accelerator, storage: FloatStorage): void {
  accelerator.setActivationStorage?.(storage === 'float32' ? null : storage);
  current.set(accelerator, storage);
}

function synchronous<T>(result: T): T {
  if (result instanceof Promise)
    throw new TensorloomError(
      'MISUSE',
      'The function run under autocast must be synchronous: what follows its first await would run without autocast.',
    );
  return result;
}

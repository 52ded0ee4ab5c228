/** Finds the accelerator to run on: by name, the user's own instance, or the best that is really there. */
import { TensorloomError } from '../errors.ts';
import { accelerators, type Accelerator, type FloatStorage } from './accelerator.ts';
import './cpu.ts';
import './wasm.ts';
import './tensorflow.ts';

/** What was chosen to run on, and how. */
export interface AcceleratorSelection {
  readonly accelerator: Accelerator;
  /** Chosen by `auto`. */
  readonly automatic: boolean;
  /** Preferred by `auto` but not usable, and why. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}

/**
 * `auto` takes the one of highest priority that is usable and has all of `storages`; a name or an instance is taken or refused, never replaced.
 * Does not activate it.
 * @param options.threads wish for the accelerator's threads: libraries learn it when they are loaded, and finding out may load them
 * @throws UnknownNameError listing what exists
 * @throws TensorloomError `UNSUPPORTED` if the one asked for (or, for `auto`, every one) cannot be used, with the reasons
 */
export async function selectAccelerator(
  nameOrInstance: string | Accelerator,
  storages: readonly FloatStorage[] = [],
  options: { readonly threads?: number } = {},
): Promise<AcceleratorSelection> {
  if (nameOrInstance !== 'auto') {
    const accelerator = typeof nameOrInstance === 'string' ? accelerators.get(nameOrInstance).create() : nameOrInstance;
    const reason = await accelerator.unavailable(options);
    if (reason !== null)
      throw new TensorloomError('UNSUPPORTED', `Accelerator '${accelerator.name}' cannot be used: ${reason}`);
    return { accelerator, automatic: false, skipped: [] };
  }
  const skipped: { name: string; reason: string }[] = [];
  for (const name of acceleratorsByPriority()) {
    const accelerator = accelerators.get(name).create();
    const lacking = storages.filter((storage) => !accelerator.storages.includes(storage));
    const reason =
      lacking.length > 0 ? `it does not store ${lacking.join(', ')}.` : await accelerator.unavailable(options);
    if (reason === null) return { accelerator, automatic: true, skipped };
    skipped.push({ name, reason });
  }
  const reasons = skipped.map(({ name, reason }) => `\n  ${name}: ${reason}`).join('');
  throw new TensorloomError('UNSUPPORTED', `No accelerator can be used:${reasons}`);
}

/** Names, the most preferred first. */
export function acceleratorsByPriority(): string[] {
  return accelerators.names().sort((a, b) => accelerators.get(b).priority - accelerators.get(a).priority);
}

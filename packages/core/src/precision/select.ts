/** Finds a precision by name (short forms included) and checks that an accelerator can store what it needs. */
import type { Accelerator, FloatStorage } from '../accelerators/accelerator.ts';
import { accelerators } from '../accelerators/accelerator.ts';
import { TensorloomError } from '../errors.ts';
import { precisions, type Precision } from './precision.ts';
import './mixed.ts';
import './true.ts';

/** As in Lightning: a bare 16 means mixed, a bare 32 or 64 means true. */
const shortForms: Readonly<Record<string, string>> = {
  '64': '64-true',
  '32': '32-true',
  '16': '16-mixed',
  bf16: 'bf16-mixed',
};

/** The full name of a precision: `16` → `16-mixed`. Unknown names pass through. */
export function precisionName(given: string | number): string {
  return shortForms[String(given)] ?? String(given);
}

/** @throws UnknownNameError listing what exists */
export function selectPrecision(given: string | number | Precision): Precision {
  return typeof given === 'object' ? given : precisions.get(precisionName(given))();
}

/** Every storage that the precision needs of an accelerator. */
export function storagesOf(precision: Precision): FloatStorage[] {
  return [...new Set([precision.parameterStorage, precision.activationStorage])];
}

/**
 * @throws TensorloomError `UNSUPPORTED` if the accelerator lacks a storage that the precision needs, listing the pairs that exist
 */
export function checkPair(accelerator: Accelerator, precision: Precision): void {
  const lacking = storagesOf(precision).filter((storage) => !accelerator.storages.includes(storage));
  if (lacking.length > 0)
    throw new TensorloomError(
      'UNSUPPORTED',
      `Accelerator '${accelerator.name}' cannot do precision '${precision.name}': it does not store ${lacking.join(', ')}. ${describePairs()}`,
    );
}

/** `Pairs that exist: cpu with 32-true; …` */
export function describePairs(): string {
  const pairs = accelerators.names().map((name) => {
    const { storages } = accelerators.get(name).create();
    const able = precisions
      .names()
      .filter((candidate) => storagesOf(precisions.get(candidate)()).every((storage) => storages.includes(storage)));
    return `${name} with ${able.join(', ')}`;
  });
  return `Pairs that exist: ${pairs.join('; ')}.`;
}

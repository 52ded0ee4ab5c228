/** Bytes that parameters, their gradients and optimizers hold. */
import { RowSparse } from '../autograd/row-sparse.ts';
import type { Gradient, Parameter } from '../modules/parameter.ts';
import type { Optimizer } from '../optimizers/optimizer.ts';
import type { HeldBytes } from './strategy.ts';

/** Of float32 and int32, in which host memory and stock accelerators hold everything, and gradients and moments are always held. */
const bytesPerElement = 4;

/** @param parameters each counted once, with its gradient */
export function heldBytes(parameters: Iterable<Parameter>, optimizers: Iterable<Optimizer>): HeldBytes {
  let values = 0;
  let gradients = 0;
  for (const parameter of new Set(parameters)) {
    values += parameter.size * valueBytes(parameter);
    if (parameter.grad !== null) gradients += gradientBytes(parameter.grad);
  }
  let optimizer = 0;
  for (const each of new Set(optimizers)) optimizer += each.stateBytes;
  return { parameters: values, gradients, optimizer };
}

function valueBytes({ storage, onHost }: Parameter): number {
  return !onHost && (storage === 'float16' || storage === 'bfloat16') ? 2 : bytesPerElement;
}

function gradientBytes(gradient: Gradient): number {
  if (gradient instanceof RowSparse) return gradient.rows.size * bytesPerElement + gradient.indices.byteLength;
  return gradient.size * bytesPerElement;
}

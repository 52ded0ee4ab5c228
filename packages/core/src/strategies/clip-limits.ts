/** Limits that gradients are clipped to. */
import { TensorloomError } from '../errors.ts';

/** @throws TensorloomError `BAD_OPTION` for one below 0 */
export function checkLimits(limits: Readonly<Record<string, number | undefined>>): void {
  for (const [name, limit] of Object.entries(limits))
    if (limit !== undefined && !(limit >= 0))
      throw new TensorloomError('BAD_OPTION', `${name} is ${limit}; it must be at least 0.`);
}

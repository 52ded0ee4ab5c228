/** Limits that gradients are clipped to. */
import { TensorloomError } from '../errors.ts';

type Limits = Readonly<Record<'clipNorm' | 'clipValue', number | undefined>>;

/** @throws TensorloomError `BAD_OPTION` for one below 0 */
export function checkLimits(limits: Limits): void {
  for (const [name, limit] of Object.entries(limits))
    if (limit !== undefined && !(limit >= 0))
      throw new TensorloomError('BAD_OPTION', `${name} is ${limit}; it must be at least 0.`);
}

/** @throws TensorloomError `BAD_OPTION` unless exactly one is given */
export function checkOneLimit({ clipNorm, clipValue }: Limits): void {
  if ((clipNorm === undefined) === (clipValue === undefined))
    throw new TensorloomError(
      'BAD_OPTION',
      `clipGradients takes either clipNorm or clipValue; got ${clipNorm === undefined ? 'neither' : 'both'}.`,
    );
}

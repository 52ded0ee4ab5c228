/** A run that ends in skipped steps has failed, however few they are: its weights make no finite loss. */
import { completeCheckpoints, TensorloomError, type Fabric } from '@tensorloom/core';
import type { RunFolder } from './run-folder.ts';

/** @throws TensorloomError `NON_FINITE` if the last steps of the run were skipped; says what helps and what was saved before */
export async function refuseNonFiniteEnd({ counts }: Pick<Fabric, 'counts'>, folder: RunFolder): Promise<void> {
  if (counts.skippedInARow === 0) return;
  const steps = counts.skippedInARow === 1 ? 'The last step was' : `The last ${counts.skippedInARow} steps were`;
  const saved = (await completeCheckpoints(folder.checkpoints)).length > 0;
  throw new TensorloomError(
    'NON_FINITE',
    `${steps} skipped, since the loss or gradients were NaN or infinite, after ${counts.steps} optimizer steps; no model is saved. ` +
      'Lower --lr, set --clip-norm, raise --warmup-steps, or look for bad values in the data.' +
      (saved ? ` What was saved before the end stays in ${folder.checkpoints}.` : ''),
  );
}

/** Small agreements of all ranks at the close of a window. */
import type { ProcessGroup, WindowTotals } from '@tensorloom/core';

/** Items of all ranks, and whether any of them wants the step skipped. */
export async function agreeOnTotals(group: ProcessGroup, items: number, discard: boolean): Promise<WindowTotals> {
  const totals = Float64Array.of(items, discard ? 1 : 0);
  await group.allReduce(totals, 'sum');
  return { items: totals[0] as number, discard: (totals[1] as number) > 0 };
}

/** Whether it is so on any rank. */
export async function anyRank(group: ProcessGroup, own: boolean): Promise<boolean> {
  const flag = Int32Array.of(own ? 1 : 0);
  await group.allReduce(flag, 'max');
  return flag[0] === 1;
}

/** The p-norm of vectors of which each rank has a part, from the parts' p-norms; infinite if any of these is not finite. */
export async function globalNorm(group: ProcessGroup, own: number, normType: number): Promise<number> {
  // Not every implementation's maximum of a number and NaN is NaN.
  const part = Number.isFinite(own) ? own : Infinity;
  const parts = Float64Array.of(normType === Infinity ? part : part ** normType);
  await group.allReduce(parts, normType === Infinity ? 'max' : 'sum');
  const total = parts[0] as number;
  return normType === Infinity ? total : total ** (1 / normType);
}

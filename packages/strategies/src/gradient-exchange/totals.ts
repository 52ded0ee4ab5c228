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

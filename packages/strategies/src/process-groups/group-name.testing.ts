/** What a process group calls itself, and a sum over its ranks. */
import type { ProcessGroup } from '@tensorloom/core/distributed';

export async function scenario(group: ProcessGroup): Promise<string> {
  const sum = Float32Array.of(group.rank + 1);
  await group.allReduce(sum, 'sum');
  return `${group.name} ${String(sum[0])}`;
}

/** A scenario for tests that disturb ranks: adds up large arrays until something happens. */
import type { ProcessGroup } from '@tensorloom/core/distributed';
import { note } from '../../testing/scenario.testing.ts';

/** Ends only with an error. */
export async function scenario(group: ProcessGroup): Promise<never> {
  const data = group.allocate('float32', 3_000_000);
  try {
    for (let round = 0; ; round++) {
      data.fill(1);
      await group.allReduce(data, 'sum');
      if (data.some((x) => x !== group.worldSize)) throw new Error('a sum is wrong');
      if (round === 3) note('busy');
    }
  } finally {
    note('failed');
  }
}

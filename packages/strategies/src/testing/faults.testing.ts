/** Scenarios in which something goes wrong: the input says what. */
import type { ProcessGroup } from '@tensorloom/core/distributed';
import { note, type Scenario } from './scenario.testing.ts';

async function reduceForEver(group: ProcessGroup): Promise<never> {
  const data = group.allocate('float32', 500_000);
  try {
    for (let call = 0; ; call++) {
      await group.allReduce(data, 'max');
      if (call === 3) note('reducing');
    }
  } finally {
    note('failed');
  }
}

export const scenario: Scenario<string, void> = async (group, what) => {
  await group.barrier('all are there');
  if (what === 'reduce for ever') await reduceForEver(group);
  if (what === 'rank 1 stays away' || what === 'rank 1 stays away, rank 0 comes late') {
    // Alive: its communication thread goes on, until the test ends it.
    if (group.rank === 1) await new Promise((resolve) => setTimeout(resolve, 600_000));
    if (group.rank === 0 && what.endsWith('late')) await new Promise((resolve) => setTimeout(resolve, 2000));
    try {
      await group.barrier('where are you');
    } finally {
      note('failed');
    }
  }
  if (what === 'rank 1 aborts') {
    if (group.rank === 1) group.abort('the data are bad');
    await group.barrier('never');
  }
};

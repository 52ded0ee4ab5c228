/** The process's random generator in a checkpoint: each rank stores its own, and a world of another size derives new ones. */
import { RandomGenerator } from '../random.ts';
import type { Stateful } from '../stateful.ts';

/**
 * Saves `generator` as this rank's own. Loading in a world of the size that saved goes on exactly. In a world of another size rank zero goes
 * on with rank zero's numbers, and rank r takes the r-th generator that rank zero's would split off next: streams that are independent of each
 * other and of rank zero's, and the same in every such load.
 */
export function randomOfRank(
  generator: RandomGenerator,
  { rank, worldSize }: { readonly rank: number; readonly worldSize: number },
): Stateful {
  return {
    stateDict: () => ({ ...generator.stateDict(), scope: 'rank' }),
    loadStateDict: (state) => {
      const sameWorld = (state.byRank?.length ?? 1) === worldSize;
      if (sameWorld || rank === 0) return generator.loadStateDict(state);
      const parent = new RandomGenerator(0);
      parent.loadStateDict(state.byRank?.[0] ?? state);
      let own = parent;
      for (let r = 1; r <= rank; r++) own = parent.split();
      generator.loadStateDict({ tensors: new Map(), values: own.stateDict().values });
    },
  };
}

/** The smallest scenario: all ranks add up their ranks. */
import type { Scenario } from './scenario.testing.ts';

export const scenario: Scenario<{ readonly length: number }, number[]> = async (group, { length }) => {
  const data = group.allocate('float32', length).fill(group.rank + 1);
  await group.allReduce(data, 'sum');
  return [...data];
};

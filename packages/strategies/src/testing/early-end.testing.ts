/** A scenario in which rank 0 sends something to rank 1 and is done long before it is received. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scenario } from './scenario.testing.ts';

export const scenario: Scenario<undefined, number> = async (group) => {
  const data = new Float32Array([0]);
  if (group.rank === 0) await group.send(new Float32Array([7]), 1);
  else {
    await sleep(1000);
    await group.receive(data, 0);
  }
  return data[0] as number;
};

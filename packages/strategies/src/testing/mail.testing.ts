/** A scenario in which all ranks send long letters to all others before anybody receives. Only for groups over shared memory. */
import type { Scenario } from './scenario.testing.ts';

export const scenario: Scenario<{ readonly length: number }, boolean> = async (group, { length }) => {
  const others = Array.from({ length: group.worldSize }, (_, rank) => rank).filter((rank) => rank !== group.rank);
  const sends = others.map((to) => group.send(new Float32Array(length).fill(group.rank * 10 + to), to));
  let isRight = true;
  for (const from of others) {
    const data = new Float32Array(length);
    await group.receive(data, from);
    isRight &&= data.every((value) => value === from * 10 + group.rank);
  }
  for (const send of sends) await send;
  return isRight;
};

/** Which ranks of a group are on which host. */

export interface Hosts {
  /** Ranks of the group, by host; each host's leader comes first. Hosts without a rank of the group are left out. */
  readonly members: readonly (readonly number[])[];
  /** This rank's host. */
  readonly own: number;
  /** Each host's ranks follow each other, and the hosts do, so that what is in the order of ranks is in the order of hosts. */
  readonly isContiguous: boolean;
}

/** @param members ranks by host; may have hosts without any */
export function hostsOf(members: readonly (readonly number[])[], rank: number): Hosts {
  const inhabited = members.filter((ranks) => ranks.length > 0).sort((a, b) => (a[0] as number) - (b[0] as number));
  return {
    members: inhabited,
    own: inhabited.findIndex((ranks) => ranks.includes(rank)),
    isContiguous: inhabited.flat().every((each, index) => each === index),
  };
}

/** Which ranks are in a group. */
import { TensorloomError } from '@tensorloom/core/distributed';

/** @throws TensorloomError `BAD_OPTION` for ranks that are no members, none at all, or one twice */
export function checkMembers(ranks: readonly number[], worldSize: number): void {
  const bad = ranks.find((rank) => !Number.isInteger(rank) || rank < 0 || rank >= worldSize);
  if (bad !== undefined)
    throw new TensorloomError('BAD_OPTION', `split: there is no rank ${bad}; ranks are 0 to ${worldSize - 1}.`);
  if (ranks.length === 0 || new Set(ranks).size !== ranks.length)
    throw new TensorloomError(
      'BAD_OPTION',
      `split: the ranks are [${ranks.join(', ')}]; give at least one, each once.`,
    );
}

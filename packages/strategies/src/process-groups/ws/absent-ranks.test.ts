/** Who is named when a call takes too long, by what the other ranks answer. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { AbsentRanks } from './absent-ranks.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/**
 * Asks ranks 1 to 4 about call 7.
 * @param answers to how many calls they have come, by rank; null of one that has left, undefined of one that does not answer
 */
async function ask(answers: readonly (number | null | undefined)[]) {
  const absent: AbsentRanks = new AbsentRanks(0, (peer, message) => {
    const calls = answers[peer - 1];
    if (message.type === 'where' && typeof calls === 'number')
      setTimeout(() => absent.onControl(peer, { type: 'here', group: 0, id: message.id, calls }, 7), 10);
    return calls !== null;
  });
  const asked = absent.ask([2, 3, 4, 1], 7);
  await vi.advanceTimersByTimeAsync(10_000);
  return asked;
}

it.each([
  ['the rank that has not come', [7, 6, 8, 7], [2]],
  ['all that have not', [6, 7, 6, 6], [1, 3, 4]],
  ['those furthest behind, for whom the others wait', [6, 7, 5, 7], [3]],
  ['those known not to have come, and not those who are slow to answer', [undefined, 7, 6, undefined], [3]],
  ['one that has left', [7, null, 7, 7], [2]],
  ['nobody if all have come', [7, 7, 7, 8], []],
])('names %s', async (_, answers, ranks) => {
  expect((await ask(answers)).ranks).toEqual(ranks);
});

it('says so where it only knows who does not answer', async () => {
  expect(await ask([7, undefined, 7, 7])).toEqual({ ranks: [2], did: 'not answer whether they have come' });
});

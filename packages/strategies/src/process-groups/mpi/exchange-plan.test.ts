/** All-to-all's counts. */
import { expect, it } from 'vitest';
import { planExchange } from './exchange-plan.ts';

/** Rank 0 sends 1 and 2, rank 1 sends 3 and 4. */
const FITTING = Float64Array.of(1, 2, 1, 3, 3, 4, 2, 4);

it('is one round where all fits in a call', () => {
  expect(planExchange(FITTING, 2, 7)).toEqual({ perRound: 4, rounds: 1 });
});

it('is as many rounds as the largest part takes', () => {
  expect(planExchange(FITTING, 2, 6)).toEqual({ perRound: 3, rounds: 2 });
  expect(planExchange(FITTING, 2, 2)).toEqual({ perRound: 1, rounds: 4 });
});

it('names the ranks whose counts do not fit each other', () => {
  const parts = FITTING.slice();
  parts[6] = 5;
  expect(() => planExchange(parts, 2, 100)).toThrow(
    'all-to-all: rank 0 sends 2 elements to rank 1, which expects 5. Give the same on both.',
  );
});

/** Parts cut into rounds. */
import { Float16Bits } from '@tensorloom/core/distributed';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compact, emptyLike, roomFor, roundsOf, sliceOf, spread } from './rounds.ts';

it('is one round, without a copy, where everything fits', () => {
  const whole = Float32Array.of(1, 2, 3);
  const rounds = roundsOf([2, 0, 1], 3);
  expect(rounds).toHaveLength(1);
  expect(compact(whole, rounds[0]!)).toBe(whole);
  expect(roomFor(whole, rounds[0]!)).toBe(whole);
  expect([...rounds[0]!.offsets]).toEqual([0, 2, 2]);
});

it('brings all elements over, once, in calls of at most so many', () => {
  const parts = fc.array(fc.nat(20), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(parts, fc.integer({ min: 5, max: 40 }), (counts, maxCount) => {
      const total = counts.reduce((sum, count) => sum + count, 0);
      const whole = Int32Array.from({ length: total }, (_, i) => i + 1);
      const received = new Int32Array(total);
      for (const round of roundsOf(counts, maxCount)) {
        expect(round.total).toBeLessThanOrEqual(maxCount);
        const room = roomFor(received, round);
        room.set(compact(whole, round));
        spread(room, received, round);
      }
      expect(received).toEqual(whole);
    }),
  );
});

it('keeps the class of an array', () => {
  const halves = Float16Bits.from([1, 2, 3, 4]) as Float16Bits;
  expect(emptyLike(halves, 2)).toBeInstanceOf(Float16Bits);
  const slice = sliceOf(halves.subarray(1), 1, 9);
  expect(slice).toBeInstanceOf(Float16Bits);
  expect([...slice]).toEqual([3, 4]);
});

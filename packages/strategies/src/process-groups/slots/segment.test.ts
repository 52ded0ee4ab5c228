/** Waiting for ranks without holding up the thread: both ranks are in this one. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { expect, it } from 'vitest';
import { SegmentLayout } from './layout.ts';
import { range, Segment, type SharedWords } from './segment.ts';

function twoRanks(collectiveTimeoutMs: number): readonly [Segment, Segment] {
  const sizes = { worldSize: 2, slotBytes: 64, mailBytes: 64 };
  const memory: SharedWords = {
    buffer: new SharedArrayBuffer(new SegmentLayout(sizes).totalBytes),
    wait: () => {},
    wake: () => {},
  };
  const [first, second] = range(2).map(
    (rank) => new Segment(memory, { rank, names: [4, 5], sizes, collectiveTimeoutMs }),
  );
  return [first as Segment, second as Segment];
}

it('names the rank that does not come', async () => {
  const [first] = twoRanks(10);
  await expect(first.comeTogether('barrier')).rejects.toMatchObject({
    code: 'TIMEOUT',
    message: 'barrier: rank 5 did not come within 0.01 s (rank 4 waited).',
  });
});

it('waits on where somebody knows that the ranks missing here only wait for others', async () => {
  const [first, second] = twoRanks(10);
  let asked = 0;
  await first.comeTogether('barrier', async () => {
    if (++asked === 3) void second.comeTogether('barrier');
    return null;
  });
  expect(asked).toBe(3);
});

it('fails with what that somebody knows, here and on the other rank', async () => {
  const [first, second] = twoRanks(10);
  const error = new TensorloomError('TIMEOUT', 'barrier: rank 9 did not come');
  await expect(first.comeTogether('barrier', async () => error)).rejects.toBe(error);
  expect(() => second.check()).toThrow(error.message);
});

it('does not fail if the ranks come while it is asked', async () => {
  const [first, second] = twoRanks(10);
  await first.comeTogether('barrier', async () => {
    void second.comeTogether('barrier');
    return new TensorloomError('TIMEOUT', 'too early');
  });
});

/** Connections that break: mended without losing or doubling anything, or told as the loss of a rank. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Transport, TransportRequest } from '../transport.ts';
import { Cable } from './cable.testing.ts';
import { createWsTransport } from './create-ws-transport.ts';
import { call, closeRanks, outcomes, requestsFor, sumOf } from './ws-ranks.testing.ts';

let ranks: Transport[] = [];
let cable: Cable | null = null;
afterEach(async () => {
  await closeRanks(ranks);
  cable?.close();
  ranks = [];
});

/** Two ranks with a cable between them. */
async function startPair(overrides: Partial<TransportRequest> = {}): Promise<Cable> {
  const requests = await requestsFor(2, overrides);
  const made = (cable = await Cable.to(requests[0]!.mainPort));
  ranks = await Promise.all([
    createWsTransport(requests[0]!),
    createWsTransport({ ...requests[1]!, mainPort: made.port }),
  ]);
  return made;
}

function expectSum(data: Float32Array, first: number): void {
  let wrong = 0;
  for (let i = 0; i < data.length; i++) if (data[i] !== first + 2 * (i % 1000)) wrong++;
  expect(wrong).toBe(0);
}

describe('a connection that is cut', () => {
  it('again and again in the middle of large all-reduces changes nothing', async () => {
    const cut = await startPair({ options: { chunkBytes: 65_536 } });
    const length = 5_000_000;
    let nextCut = 3_000_000;
    cut.onBytes = () => {
      if (cut.bytes < nextCut) return;
      nextCut = cut.bytes + 7_000_000;
      cut.cut();
    };
    for (let round = 0; round < 3; round++) {
      const data = [0, 1].map((rank) => {
        const array = new Float32Array(new SharedArrayBuffer(4 * length));
        for (let i = 0; i < length; i++) array[i] = rank + round + (i % 1000);
        return array;
      });
      await Promise.all(ranks.map(async (transport, rank) => transport.execute(sumOf(data[rank]!))));
      for (const array of data) expectSum(array, 1 + 2 * round);
    }
    expect(cut.cuts).toBeGreaterThan(5);
  });

  it('between many small calls loses and doubles none', async () => {
    const cut = await startPair();
    let count = 0;
    cut.onBytes = () => {
      if (++count % 150 === 0) cut.cut();
    };
    for (let i = 0; i < 300; i++) {
      const data = [Int32Array.of(i), Int32Array.of(2 * i)];
      await Promise.all(ranks.map(async (transport, rank) => transport.execute(sumOf(data[rank]!))));
      expect(data.map(([sum]) => sum)).toEqual([3 * i, 3 * i]);
    }
    expect(cut.cuts).toBeGreaterThan(1);
  });

  it('for good is the loss of the other rank within the timeout, on both sides', async () => {
    const cut = await startPair({ rankTimeoutMs: 3000 });
    const pending = outcomes(
      ranks.map(async (transport) => {
        for (;;) await transport.execute(sumOf(new Float32Array(100_000)));
      }),
    );
    setTimeout(() => cut.pull(), 50);
    const errors = await pending;
    for (const [rank, error] of errors.entries()) {
      expect(error).toMatchObject({ code: 'RANK_LOST' });
      expect(error!.message).toMatch(new RegExp(`Rank ${1 - rank} is lost.*during all-reduce sum float32\\[100000\\]`));
    }
  });

  it('without a word is noticed by the signs of life that stay away', async () => {
    const cut = await startPair({ rankTimeoutMs: 2000 });
    const pending = outcomes(
      ranks
        .map(async (transport, rank) =>
          rank === 0 ? transport.execute(call('barrier', null, null)) : new Promise(() => {}),
        )
        .slice(0, 1),
    );
    cut.hold();
    const [error] = await pending;
    expect(error).toMatchObject({ code: 'RANK_LOST' });
    expect(error!.message).toMatch(/Rank 1 is lost: it .* for 2 s during barrier/);
  });
});

/** What ranks are told when calls differ, others do not come, leave, or end the job. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Transport } from '../transport.ts';
import { Cable } from './cable.testing.ts';
import { createWsTransport } from './create-ws-transport.ts';
import { freePort } from '../../launcher/free-port.ts';
import { call, closeRanks, outcomes, requestsFor, startRanks, sumOf } from './ws-ranks.testing.ts';

let ranks: Transport[] = [];
afterEach(async () => {
  await closeRanks(ranks);
  ranks = [];
});

const floats = (length: number) => new Float32Array(new SharedArrayBuffer(4 * length), 0, length).fill(1);

describe('calls that differ', () => {
  const f = floats;
  it.each([
    ['another size', () => sumOf(f(10)), () => sumOf(f(11))],
    ['a small and a large size', () => sumOf(f(10)), () => sumOf(f(100_000))],
    ['another type', () => sumOf(f(10)), () => sumOf(new Int32Array(10))],
    ['another operation', () => sumOf(f(10)), () => call('all-reduce', f(10), f(10), { op: 'max' })],
    ['another kind', () => sumOf(f(50_000)), () => call('barrier', null, null)],
    [
      'another name of a barrier',
      () => call('barrier', null, null, { name: 'a' }),
      () => call('barrier', null, null, { name: 'b' }),
    ],
    [
      'another source',
      () => call('broadcast', f(9), f(9), { peer: 0 }),
      () => call('broadcast', f(9), f(9), { peer: 1 }),
    ],
  ])('with %s are an error on every rank that names the ranks', async (_, usual, other) => {
    ranks = await startRanks(4);
    const errors = await outcomes(
      ranks.map(async (transport, rank) => transport.execute(rank === 2 ? other() : usual())),
    );
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'COLLECTIVE_MISMATCH' });
      expect(error!.message).toMatch(/rank 2 called/);
    }
    await expect(ranks[0]!.execute(call('barrier', null, null))).rejects.toMatchObject({ code: 'COLLECTIVE_MISMATCH' });
  });

  it('in all-to-all: the pair whose counts do not fit is named', async () => {
    ranks = await startRanks(2);
    const exchange = (counts: number[], receiveCounts: number[]) => {
      const total = (parts: number[]) => parts.reduce((a, b) => a + b);
      return call('all-to-all', floats(total(counts)), floats(total(receiveCounts)), { counts, receiveCounts });
    };
    const errors = await outcomes([
      ranks[0]!.execute(exchange([1, 5], [1, 0])),
      ranks[1]!.execute(exchange([0, 1], [4, 1])),
    ]);
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'COLLECTIVE_MISMATCH' });
      expect(error!.message).toMatch(/16 bytes.*20 bytes|20 bytes.*16 bytes/);
    }
  });

  it.each([
    [10, 11],
    [10, 20_000],
    [20_000, 10],
    [20_000, 20_001],
  ])('in send of %i and receive of %i elements', async (sent, received) => {
    ranks = await startRanks(2);
    const errors = await outcomes([
      (async () => {
        await ranks[0]!.execute(call('send', floats(sent), null, { peer: 1 }));
        await ranks[0]!.execute(call('barrier', null, null));
      })(),
      ranks[1]!.execute(call('receive', null, floats(received), { peer: 0 })),
    ]);
    for (const error of errors) expect(error).toMatchObject({ code: 'COLLECTIVE_MISMATCH' });
  });

  it('leave groups that were not concerned usable', async () => {
    ranks = await startRanks(3);
    const groups = await Promise.all(ranks.map((transport) => transport.split([0, 2], 'pair')));
    const errors = await outcomes([groups[0]!.execute(sumOf(floats(1))), groups[2]!.execute(sumOf(floats(2)))]);
    for (const error of errors) expect(error).toMatchObject({ code: 'COLLECTIVE_MISMATCH' });
    await Promise.all(ranks.map(async (transport) => transport.execute(call('barrier', null, null))));
  });
});

describe('a rank that does not come', () => {
  it.each([
    ['a small all-reduce', 10],
    ['a large all-reduce', 100_000],
  ])('to %s is named by all others after the timeout', async (_, length) => {
    ranks = await startRanks(4, { collectiveTimeoutMs: 300 });
    const errors = await outcomes([0, 2, 3].map(async (rank) => ranks[rank]!.execute(sumOf(floats(length)))));
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'TIMEOUT' });
      expect(error!.message).toMatch(/rank 1 did not come/);
    }
    // What arrived before the news of the failure may be enough for one call, never for a second one.
    const comeLate = async (): Promise<void> => {
      for (let calls = 0; calls < 2; calls++) await ranks[1]!.execute(sumOf(floats(length)));
    };
    await expect(comeLate()).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('rank 1 did not come') as string,
    });
  });

  it('to receive is named', async () => {
    ranks = await startRanks(2, { collectiveTimeoutMs: 200 });
    await expect(ranks[0]!.execute(call('send', floats(50_000), null, { peer: 1 }))).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
  });

  it('to the meeting is named by those who did', async () => {
    const requests = await requestsFor(4, { rankTimeoutMs: 3000 });
    const errors = await outcomes([0, 1, 3].map((rank) => createWsTransport(requests[rank]!)));
    for (const error of errors) {
      expect(error).toMatchObject({ code: 'TIMEOUT' });
      expect(error!.message).toMatch(/rank 2 did not come/);
    }
  });

  it('as the main rank is told with its address', async () => {
    const requests = await requestsFor(2, { rankTimeoutMs: 300 });
    const [error] = await outcomes([createWsTransport(requests[1]!)]);
    expect(error).toMatchObject({ code: 'TIMEOUT' });
    expect(error!.message).toContain(`127.0.0.1:${requests[0]!.mainPort}`);
  });
});

describe('the end of a job', () => {
  it('by abort reaches every rank with its reason, at once', async () => {
    ranks = await startRanks(4);
    const pending = outcomes([0, 1, 2].map(async (rank) => ranks[rank]!.execute(sumOf(floats(100_000)))));
    setTimeout(() => ranks[3]!.abort('the data loader failed'), 20);
    for (const error of await pending)
      expect(error).toMatchObject({ code: 'ABORTED', message: 'the data loader failed' });
    await expect(ranks[3]!.execute(call('barrier', null, null))).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('by abort of the world reaches calls of its groups too', async () => {
    ranks = await startRanks(3);
    const groups = await Promise.all(ranks.map((transport) => transport.split([0, 1], 'pair')));
    const pending = outcomes([groups[0]!.execute(sumOf(floats(10)))]);
    ranks[2]!.abort('enough');
    expect((await pending)[0]).toMatchObject({ code: 'ABORTED', message: 'enough' });
  });

  it('in good order is no failure for ranks that need nothing more', async () => {
    ranks = await startRanks(3);
    await Promise.all(ranks.map(async (transport) => transport.execute(call('barrier', null, null))));
    await ranks[1]!.close();
    await ranks[0]!.execute(call('send', floats(10), null, { peer: 2 }));
    await ranks[2]!.execute(call('receive', null, floats(10), { peer: 0 }));
  });

  it('of a rank that others wait for is a loss that names it', async () => {
    ranks = await startRanks(3);
    const pending = outcomes([0, 1].map(async (rank) => ranks[rank]!.execute(sumOf(floats(100_000)))));
    await ranks[2]!.close();
    for (const error of await pending) {
      expect(error).toMatchObject({ code: 'RANK_LOST' });
      expect(error!.message).toMatch(/Rank 2 is lost/);
    }
  });
});

describe('a rank whose launcher has started it anew', () => {
  const anew = { rankTimeoutMs: 2000 };
  /** As launchers number their attempts. */
  const attempts = async () => {
    const first = await requestsFor(2, { jobId: 'job-0', rankTimeoutMs: 10_000 });
    return { first, second: first.map((request) => ({ ...request, ...anew, jobId: 'job-1' })) };
  };

  it('is lost to the others at once, in the middle of a call', async () => {
    const { first, second } = await attempts();
    ranks = await Promise.all(first.map((request) => createWsTransport(request)));
    const pending = outcomes([ranks[0]!.execute(sumOf(floats(10)))]);
    await outcomes([createWsTransport(second[1]!)]);
    expect((await pending)[0]).toMatchObject({
      code: 'RANK_LOST',
      message: expect.stringMatching(/^Rank 1 is lost: it was started anew, as job job-1 during all-reduce/) as string,
    });
  });

  it('also if the others have not met it yet', async () => {
    const { first, second } = await attempts();
    const [waiting] = await outcomes([createWsTransport(first[0]!), createWsTransport(second[1]!)]);
    expect(waiting).toMatchObject({ code: 'RANK_LOST' });
    expect(waiting!.message).toMatch(/^Rank 1 is lost: it was started anew/);
  });

  it('is lost too to those that knock at its old place, and find the next attempt', async () => {
    const { first, second } = await attempts();
    const cable = await Cable.to(first[0]!.mainPort);
    ranks = await Promise.all([
      createWsTransport(first[0]!),
      createWsTransport({ ...first[1]!, mainPort: cable.port }),
    ]);
    cable.target = await freePort();
    const next = outcomes([createWsTransport({ ...second[0]!, rankTimeoutMs: 3000, mainPort: cable.target })]);
    const pending = outcomes([ranks[1]!.execute(sumOf(floats(10)))]);
    cable.cut();
    expect((await pending)[0]).toMatchObject({
      code: 'RANK_LOST',
      message: expect.stringMatching(/^Rank 0 is lost: it closed its connection and its process is gone/) as string,
    });
    await next;
    cable.close();
  });
});

describe('the meeting', () => {
  it('names a port in use', async () => {
    ranks = await startRanks(1);
    const requests = await requestsFor(2);
    const first = createWsTransport(requests[0]!);
    const [error] = await outcomes([createWsTransport(requests[0]!)]);
    expect(error!.message).toMatch(new RegExp(`Port ${requests[0]!.mainPort} .*is in use`));
    ranks.push(...(await Promise.all([first, createWsTransport(requests[1]!)])));
  });

  it('keeps two jobs at once apart, also on one port', async () => {
    const requests = await requestsFor(2);
    const strangers = (
      await requestsFor(2, { token: 'another', rankTimeoutMs: 2000, mainPort: requests[0]!.mainPort })
    )[1]!;
    const meeting = Promise.all(requests.map((request) => createWsTransport(request)));
    const [error] = await outcomes([createWsTransport(strangers)]);
    ranks = await meeting;
    expect(error).toMatchObject({ code: 'TIMEOUT' });
    expect(error!.message).toMatch(/another job/);
    await Promise.all(ranks.map(async (transport) => transport.execute(call('barrier', null, null))));
  });

  it('refuses options it does not know, and no token beyond loopback', async () => {
    const [request] = await requestsFor(2, { options: { portt: 1 } });
    await expect(createWsTransport(request!)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const open = { ...request!, options: { bindAddress: '0.0.0.0' }, token: undefined };
    await expect(createWsTransport(open)).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });
});

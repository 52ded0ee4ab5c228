/** Connections by TLS, with certificates on both sides. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { Transport } from '../transport.ts';
import { hasOpenssl, makeCertificates } from './certificates.testing.ts';
import { createWsTransport } from './create-ws-transport.ts';
import { closeRanks, outcomes, requestsFor, startRanks, sumOf } from './ws-ranks.testing.ts';

const isPossible = hasOpenssl();
if (!isPossible) console.log('openssl is not installed: no test of TLS.');
const folder = mkdtempSync(path.join(tmpdir(), 'ws-tls-'));
let ranks: Transport[] = [];
afterEach(async () => {
  await closeRanks(ranks);
  ranks = [];
  vi.restoreAllMocks();
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.runIf(isPossible)('with TLS', () => {
  it('ranks reduce large and small arrays', async () => {
    ranks = await startRanks(3, { options: { tls: makeCertificates(folder, 'ours') } });
    for (const length of [5, 500_000]) {
      const data = ranks.map((_, rank) => new Float32Array(length).fill(rank + 1));
      await Promise.all(ranks.map(async (transport, rank) => transport.execute(sumOf(data[rank]!))));
      for (const array of data) expect(array.every((x) => x === 6)).toBe(true);
    }
  });

  it("a rank with another authority's certificate, or none, is not let in, though it has the token", async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const tls = makeCertificates(folder, 'first');
    const requests = await requestsFor(2, { options: { tls } });
    const meeting = Promise.all(requests.map((request) => createWsTransport(request)));
    const stranger = { ...requests[1]!, rankTimeoutMs: 1500 };
    const other = { tls: makeCertificates(folder, 'second') };
    const errors = await outcomes([
      createWsTransport({ ...stranger, options: other }),
      createWsTransport({ ...stranger, options: {} }),
    ]);
    ranks = await meeting;
    for (const error of errors) expect(error).toMatchObject({ code: 'TIMEOUT' });
    const data = ranks.map(() => new Float32Array(10).fill(1));
    await Promise.all(ranks.map(async (transport, rank) => transport.execute(sumOf(data[rank]!))));
    expect(data[0]![0]).toBe(2);
    expect(warn.mock.calls.length).toBeGreaterThan(0);
  });

  it('a missing file is named', async () => {
    const tls = { certPath: '/nowhere/cert.pem', keyPath: '/nowhere/key.pem', caPath: '/nowhere/ca.pem' };
    const [error] = await outcomes([createWsTransport((await requestsFor(2, { options: { tls } }))[0]!)]);
    expect(error).toMatchObject({ code: 'IO' });
    expect(error!.message).toContain('/nowhere/cert.pem');
  });
});

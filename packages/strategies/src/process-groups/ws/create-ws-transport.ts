/**
 * The transport over TCP: WebSockets between all pairs of ranks of a job, each kept alive, mended after cuts, and authenticated.
 *
 * Security: a connection is authenticated by the job's token before anything it says is parsed beyond its HTTP headers (handshake.ts). A job without a token
 * uses its id instead, on loopback only (anyone on this host who knows the id can join), unless `insecure: true` opens it. Without `tls`, data
 * are neither secret nor guarded against change on the wire.
 */
import type { TransportRequest } from '../transport.ts';
import { Meeting } from './meeting.ts';
import { Mesh } from './mesh.ts';
import { parseWsOptions } from './options.ts';
import { WsTransport } from './ws-transport.ts';

/** @throws TensorloomError `TIMEOUT` naming ranks that did not come, `IO` for a port in use, `BAD_OPTION` */
export async function createWsTransport(request: TransportRequest): Promise<WsTransport> {
  const options = parseWsOptions(request.options);
  const heartbeatMs = options.heartbeatMs ?? Math.max(20, Math.min(1000, request.rankTimeoutMs / 10));
  const mesh = new Mesh(request, heartbeatMs, options.chunkBytes);
  const meeting = new Meeting(mesh, options, (message) => console.warn(message));
  const ranks = Array.from({ length: request.worldSize }, (_, rank) => rank);
  const transport = new WsTransport(mesh, ranks, 'world', null, () => meeting.close());
  try {
    if (request.worldSize > 1) await meeting.meet();
  } catch (error) {
    await mesh.close();
    meeting.close();
    throw error;
  }
  return transport;
}

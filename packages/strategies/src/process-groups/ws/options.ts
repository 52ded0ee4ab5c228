/** Options of the `ws` transport, and what follows from them: where to listen, and which key connections are authenticated with. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { z } from 'zod';
import type { TransportRequest } from '../transport.ts';

const positive = z.int().positive();

export const wsOptionsSchema = z.strictObject({
  /** Address to listen on; default: of this host, the address that leads to the main rank (the main address, on the main rank itself). */
  bindAddress: z.string().min(1).optional(),
  /** Address under which other ranks reach this one; default: the one from which this rank reaches the main rank. */
  advertiseAddress: z.string().min(1).optional(),
  /** Name of the network interface whose address is advertised and listened on. */
  interface: z.string().min(1).optional(),
  /** Where the environment brings no token. */
  token: z.string().min(1).optional(),
  /** Allows a job without a token beyond loopback: anyone who reaches the ports and guesses the job id can join it. */
  insecure: z.boolean().default(false),
  /** PEM files; both sides of each connection show their certificate and check the other's against the CA. */
  tls: z.strictObject({ certPath: z.string(), keyPath: z.string(), caPath: z.string() }).optional(),
  /** The largest message, in bytes, that is accepted. */
  maxFrameBytes: positive.min(65_536).max(67_108_864).default(4_194_304),
  /** Bulk data travel in chunks of so many bytes. */
  chunkBytes: positive
    .min(4096)
    .max(16_777_216)
    .multipleOf(8)
    .default(512 * 1024),
  /** How often a rank gives a sign of life. Default: a tenth of the rank timeout, at most 1 s. */
  heartbeatMs: positive.optional(),
});

export type WsOptions = z.infer<typeof wsOptionsSchema>;

/** @throws TensorloomError `BAD_OPTION` */
export function parseWsOptions(options: Readonly<Record<string, unknown>>): WsOptions {
  const parsed = wsOptionsSchema.safeParse(options);
  if (!parsed.success)
    throw new TensorloomError('BAD_OPTION', `Options of the process group 'ws': ${z.prettifyError(parsed.error)}`);
  if (parsed.data.chunkBytes + 4096 > parsed.data.maxFrameBytes)
    throw new TensorloomError(
      'BAD_OPTION',
      `Options of the process group 'ws': chunkBytes (${parsed.data.chunkBytes}) must be at least 4,096 less than maxFrameBytes (${parsed.data.maxFrameBytes}).`,
    );
  return parsed.data;
}

export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address);
}

/**
 * What connections are authenticated with. Without a token the job id is the key: it keeps jobs apart, but is no secret.
 * @throws TensorloomError `BAD_OPTION` where that would open the job to a network
 */
export function authenticationKey(request: TransportRequest, options: WsOptions, bindAddress: string): string {
  const token = request.token ?? options.token;
  if (token !== undefined) return `token:${token}`;
  if (!(isLoopback(bindAddress) && isLoopback(request.mainAddress)) && !options.insecure)
    throw new TensorloomError(
      'BAD_OPTION',
      `The job has no token, and would listen on ${bindAddress}, beyond this host. Give all ranks the same token (process group option 'token'), ` +
        `start them with 'tensorloom launch', which makes one, or set 'insecure: true' where nobody else reaches this network.`,
    );
  return `job:${request.jobId}`;
}

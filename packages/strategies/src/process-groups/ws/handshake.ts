/**
 * How two ranks make sure of each other before a frame is read. The server gives each TCP connection a nonce; the client's upgrade request brings its
 * introduction and an HMAC of both under the job's key; the server's answer likewise. So neither a recorded handshake nor a listener
 * that took the port learns or changes anything. (Without TLS, what follows can be read and changed by whoever sits on the wire.)
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

export const PROTOCOL_VERSION = 1;
export const HELLO_HEADER = 'x-tensorloom-hello';
export const PROOF_HEADER = 'x-tensorloom-proof';
export const NONCE_HEADER = 'x-tensorloom-nonce';
/** Longest answer to the first request; it has a nonce in it and little else. */
export const MAX_CHALLENGE_BYTES = 2048;

const rank = z.int().nonnegative();
const id = z.string().min(1).max(128);

/** How a rank introduces itself. */
export const helloSchema = z.strictObject({
  version: z.int(),
  job: id,
  rank,
  /** Whom it means to reach. */
  to: rank,
  worldSize: z.int().positive(),
  /** Tells a restarted process from the one it replaces. */
  instance: id,
  host: z.string().max(256),
  port: z.int().min(0).max(65_535),
  /** The sequence number of the last frame that arrived over earlier connections of this link. */
  received: z.int().nonnegative(),
  nonce: id,
});
export type Hello = z.infer<typeof helloSchema>;

export function makeNonce(): string {
  return randomBytes(24).toString('hex');
}

export function encodeHello(hello: Hello): string {
  return Buffer.from(JSON.stringify(hello)).toString('base64url');
}

/** Null for what is none. */
export function decodeHello(text: string): Hello | null {
  try {
    const parsed = helloSchema.safeParse(JSON.parse(Buffer.from(text, 'base64url').toString()));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** @param parts the nonces and introductions so far: none of them contains a line end */
export function proofOf(key: string, role: 'client' | 'server', ...parts: readonly string[]): string {
  return createHmac('sha256', key)
    .update(['tensorloom-ws', role, ...parts].join('\n'))
    .digest('hex');
}

/** Takes the same time for every wrong proof. */
export function isProof(given: unknown, expected: string): boolean {
  if (typeof given !== 'string' || given.length !== expected.length) return false;
  return timingSafeEqual(Buffer.from(given, 'latin1'), Buffer.from(expected, 'latin1'));
}

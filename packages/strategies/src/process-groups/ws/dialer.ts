/** Connects to another rank's listener: asks for a nonce, proves who we are, and checks who answers. */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import { socketOptions, type Connection } from './connection.ts';
import {
  decodeHello,
  encodeHello,
  HELLO_HEADER,
  isProof,
  MAX_CHALLENGE_BYTES,
  NONCE_HEADER,
  PROOF_HEADER,
  proofOf,
  type Hello,
} from './handshake.ts';
import { Intake } from './intake.ts';
import type { TlsFiles } from './tls-files.ts';

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly key: string;
  readonly tls: TlsFiles | undefined;
  readonly maxFrameBytes: number;
  readonly timeoutMs: number;
  /** This side's introduction; told when the address of this end is known. */
  readonly hello: (localAddress: string) => Hello;
}

/** Why a connection was not made. `refused`: no process listens there; `denied`: one listens and does not want us. */
export class DialError extends Error {
  readonly kind: 'refused' | 'denied' | 'unreachable';

  constructor(kind: DialError['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

/**
 * @param onOpen called before anything can arrive
 * @throws DialError
 */
export async function dial(options: DialOptions, onOpen: (connection: Connection) => void): Promise<void> {
  const intake = options.tls === undefined ? new Intake() : null;
  const stream = await openStream(options, intake);
  const timer = setTimeout(
    () => stream.destroy(new Error(`no answer within ${options.timeoutMs} ms`)),
    options.timeoutMs,
  );
  try {
    const nonce = await askForNonce(stream);
    await upgrade({ stream, intake }, nonce, options, onOpen);
  } catch (error) {
    stream.destroy();
    throw error instanceof DialError ? error : new DialError('unreachable', (error as Error).message);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a process listens at an address: false only if the connection is refused. */
export async function probe(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host, port });
    const end = (isListening: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isListening);
    };
    const timer = setTimeout(() => end(true), timeoutMs);
    socket.once('connect', () => end(true));
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code !== 'ECONNREFUSED'));
  });
}

function openStream({ host, port, tls, timeoutMs }: DialOptions, intake: Intake | null): Promise<Socket> {
  return new Promise((resolve, reject) => {
    // The authority signs for this job alone, so whoever has its certificate is a rank: names of hosts need not fit.
    const stream =
      tls === undefined
        ? intake!.open(connectTcp({ host, port, noDelay: true, onread: intake!.options }))
        : connectTls({ host, port, ...tls, checkServerIdentity: () => undefined });
    stream.setNoDelay(true);
    const timer = setTimeout(() => stream.destroy(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs);
    stream.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(timer);
      stream.off('error', failed);
      // From here on, 'close' tells.
      stream.on('error', () => {});
      resolve(stream);
    });
    const failed = (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(new DialError(error.code === 'ECONNREFUSED' ? 'refused' : 'unreachable', error.message));
    };
    stream.on('error', failed);
  });
}

function askForNonce(stream: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const onData = (data: Buffer) => {
      answer += data.toString('latin1');
      const isWhole = answer.endsWith('\r\n\r\n');
      if (!isWhole && answer.length <= MAX_CHALLENGE_BYTES) return;
      stream.off('data', onData);
      stream.off('close', onClose);
      const nonce = new RegExp(`\r\n${NONCE_HEADER}: ([0-9a-f]{48})\r\n`, 'i').exec(answer)?.[1];
      if (nonce === undefined || !isWhole) reject(new DialError('denied', 'what listens there is no rank of a job'));
      else resolve(nonce);
    };
    const onClose = () => reject(new DialError('unreachable', 'the connection was closed during the handshake'));
    stream.on('data', onData);
    stream.once('close', onClose);
    stream.write('GET / HTTP/1.1\r\nhost: rank\r\n\r\n');
  });
}

function upgrade(
  { stream, intake }: Pick<Connection, 'stream' | 'intake'>,
  nonce: string,
  options: DialOptions,
  onOpen: (connection: Connection) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const text = encodeHello(options.hello(stream.localAddress ?? ''));
    const socket = new WebSocket('ws://rank/', {
      ...socketOptions(options.maxFrameBytes),
      createConnection: () => stream,
      headers: { [HELLO_HEADER]: text, [PROOF_HEADER]: proofOf(options.key, 'client', nonce, text) },
    });
    let hello: Hello | null = null;
    socket.once('upgrade', ({ headers }) => {
      const given = headers[HELLO_HEADER];
      if (typeof given !== 'string') return;
      if (isProof(headers[PROOF_HEADER], proofOf(options.key, 'server', nonce, text, given)))
        hello = decodeHello(given);
    });
    socket.once('unexpected-response', (_, response) => {
      reject(new DialError('denied', String(response.headers['x-tensorloom-reason'] ?? `HTTP ${response.statusCode}`)));
      stream.destroy();
    });
    socket.on('error', (error) => reject(new DialError('unreachable', error.message)));
    socket.once('close', () => reject(new DialError('unreachable', 'the connection was closed during the handshake')));
    socket.once('open', () => {
      if (hello === null) {
        socket.terminate();
        reject(new DialError('denied', 'what listens there does not know the token of this job'));
        return;
      }
      try {
        const { maxFrameBytes } = options;
        onOpen({ socket, stream, intake, hello, isServer: false, maxFrameBytes });
        resolve();
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
}

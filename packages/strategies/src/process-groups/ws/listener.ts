/** Where other ranks knock: an HTTP server that answers nothing but the authenticated upgrade, with bounds on everything. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TensorloomError } from '@tensorloom/core/distributed';
import { WebSocketServer } from 'ws';
import { socketOptions, type Connection } from './connection.ts';
import {
  decodeHello,
  encodeHello,
  HELLO_HEADER,
  isProof,
  makeNonce,
  NONCE_HEADER,
  PROOF_HEADER,
  proofOf,
  type Hello,
} from './handshake.ts';
import { withIntake } from './intake.ts';
import type { TlsFiles } from './tls-files.ts';

const UNAUTHENTICATED_MS = 5000;

export interface ListenerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly key: string;
  readonly tls: TlsFiles | undefined;
  readonly maxFrameBytes: number;
  /** How many connections may be open that have not shown who they are; beyond, the oldest is closed. */
  readonly maxUnauthenticated: number;
  /** This side's introduction, or why this rank is not welcome. */
  readonly welcome: (hello: Hello) => Hello | string;
  readonly onConnection: (connection: Connection) => void;
  /** A refusal, by kind. */
  readonly onRefused: (kind: string, message: string) => void;
}

export interface Listener {
  readonly port: number;
  close(): void;
}

/** @throws TensorloomError `IO` for a port in use or an address that is not this host's */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const limits = { maxHeaderSize: 8192, headersTimeout: UNAUTHENTICATED_MS, requestTimeout: UNAUTHENTICATED_MS };
  const server: Server =
    options.tls === undefined
      ? createServer(limits)
      : createSecureServer({
          ...limits,
          ...options.tls,
          requestCert: true,
          rejectUnauthorized: true,
          handshakeTimeout: UNAUTHENTICATED_MS,
        });
  server.keepAliveTimeout = UNAUTHENTICATED_MS;
  server.maxHeadersCount = 32;
  const upgrader = new WebSocketServer({
    ...socketOptions(options.maxFrameBytes),
    noServer: true,
    clientTracking: false,
  });
  const strangers = new Strangers(options);
  const nonces = new WeakMap<Duplex, string>();
  const answers = new WeakMap<IncomingMessage, string[]>();
  server.on('connection', (socket: Socket) => strangers.add(socket));
  server.on('clientError', (_, socket) => {
    options.onRefused('garbage', 'A connection that does not speak this protocol was closed.');
    socket.destroy();
  });
  server.on('tlsClientError', (error: Error) =>
    options.onRefused('tls', `A connection without a valid certificate was closed (${error.message}).`),
  );
  server.on('request', (request, response) => {
    const nonce = makeNonce();
    nonces.set(request.socket, nonce);
    response.writeHead(401, { [NONCE_HEADER]: nonce, 'content-length': 0, connection: 'keep-alive' }).end();
  });
  upgrader.on('headers', (headers, request) => headers.push(...(answers.get(request) ?? [])));
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const nonce = nonces.get(socket);
    // Each nonce serves once, and only on the connection it was given to.
    nonces.delete(socket);
    const given = request.headers[HELLO_HEADER];
    const text = typeof given === 'string' ? given : '';
    const isAuthentic =
      nonce !== undefined && isProof(request.headers[PROOF_HEADER], proofOf(options.key, 'client', nonce, text));
    const hello = isAuthentic ? decodeHello(text) : null;
    if (hello === null) {
      options.onRefused(
        'token',
        `A connection from ${socket.remoteAddress ?? 'an unknown address'} was refused: it has no or a wrong token, or belongs to another job.`,
      );
      refuse(socket, 'the token is wrong, or another job listens here');
      return;
    }
    const own = options.welcome(hello);
    if (typeof own === 'string') {
      options.onRefused('unwelcome', `A connection of rank ${hello.rank} was refused: ${own}.`);
      refuse(socket, own);
      return;
    }
    const answer = encodeHello(own);
    answers.set(request, [
      `${HELLO_HEADER}: ${answer}`,
      `${PROOF_HEADER}: ${proofOf(options.key, 'server', nonce!, text, answer)}`,
    ]);
    const { stream, intake } = withIntake(socket);
    upgrader.handleUpgrade(request, stream, head, (webSocket) => {
      strangers.delete(stream);
      stream.setTimeout(0);
      const { maxFrameBytes } = options;
      options.onConnection({ socket: webSocket, stream, intake, hello, isServer: true, maxFrameBytes });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, options)));
    server.listen({ host: options.host, port: options.port, backlog: 1024 }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      strangers.closeAll();
    },
  };
}

/** Connections that have not shown who they are. */
class Strangers {
  readonly #sockets = new Map<string, { readonly socket: Socket; readonly timer: NodeJS.Timeout }>();
  readonly #options: ListenerOptions;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  add(socket: Socket): void {
    const key = nameOf(socket);
    const timer = setTimeout(() => {
      this.#options.onRefused(
        'slow',
        `A connection that did not show who it is within ${UNAUTHENTICATED_MS / 1000} s was closed.`,
      );
      this.delete(socket);
      socket.destroy();
    }, UNAUTHENTICATED_MS);
    this.#sockets.set(key, { socket, timer });
    socket.once('close', () => this.#delete(key));
    if (this.#sockets.size <= this.#options.maxUnauthenticated) return;
    // The oldest: an honest rank needs a few milliseconds, so what has been here longest is the least likely to be one.
    const [oldest] = this.#sockets.keys();
    const { socket: victim } = this.#sockets.get(oldest!)!;
    this.#options.onRefused(
      'flood',
      `More than ${this.#options.maxUnauthenticated} connections did not show who they are; the oldest were closed.`,
    );
    this.#delete(oldest!);
    victim.destroy();
  }

  /** @param socket the one that was added, or the TLS socket on top of it */
  delete(socket: Socket): void {
    this.#delete(nameOf(socket));
  }

  closeAll(): void {
    for (const [key, { socket }] of this.#sockets) {
      this.#delete(key);
      socket.destroy();
    }
  }

  #delete(key: string): void {
    clearTimeout(this.#sockets.get(key)?.timer);
    this.#sockets.delete(key);
  }
}

function nameOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${socket.remotePort ?? 0}`;
}

function refuse(socket: Socket, reason: string): void {
  socket.end(
    `HTTP/1.1 403 Forbidden\r\nx-tensorloom-reason: ${reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`,
    () => socket.destroy(),
  );
}

function listenError(error: NodeJS.ErrnoException, { host, port }: ListenerOptions): TensorloomError {
  const what =
    error.code === 'EADDRINUSE'
      ? `Port ${port} of ${host} is in use, perhaps by another job: end that, or choose another main port`
      : `Cannot listen on ${host}, port ${port}: ${error.message}`;
  return new TensorloomError('IO', `${what}.`, { cause: error });
}

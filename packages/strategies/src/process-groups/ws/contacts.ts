/** How this rank makes connections: listens, dials, checks who comes, and finds the others again after a cut. */
import { randomBytes } from 'node:crypto';
import type { TransportRequest } from '../transport.ts';
import type { Connection } from './connection.ts';
import { dial, DialError, probe } from './dialer.ts';
import { PROTOCOL_VERSION, type Hello } from './handshake.ts';
import type { Link } from './link.ts';
import { listen, type Listener, type ListenerOptions } from './listener.ts';
import { lost, type Mesh } from './mesh.ts';
import { isLoopback, type WsOptions } from './options.ts';
import { readTlsFiles, type TlsFiles } from './tls-files.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

const DIAL_TIMEOUT_MS = 5000;
/** A host that refuses for so long, or has another process at the port, has no such process any more. Over a network, something else may refuse for a while. */
const REFUSED_LOOPBACK_MS = 250;
const REFUSED_MS = 3000;

export class Contacts {
  /** Where ranks listen, as far as it is known. */
  readonly addresses = new Map<number, Address>();
  /** Why the last attempt to connect failed. */
  lastProblem = '';
  readonly #mesh: Mesh;
  readonly #request: TransportRequest;
  readonly #options: WsOptions;
  readonly #key: string;
  readonly #advertised: string;
  readonly #warn: (message: string) => void;
  readonly #tls: TlsFiles | undefined;
  readonly #instance = randomBytes(12).toString('hex');
  readonly #refusals = new Set<string>();
  readonly #mending = new Set<number>();
  #listener: Listener | null = null;

  /**
   * @param key what connections are authenticated with
   * @param advertised address under which the others reach this rank
   * @throws TensorloomError `IO` for certificates that cannot be read
   */
  constructor(mesh: Mesh, options: WsOptions, key: string, advertised: string, warn: (message: string) => void) {
    this.#mesh = mesh;
    this.#request = mesh.request;
    this.#options = options;
    this.#key = key;
    this.#advertised = advertised;
    this.#warn = warn;
    this.#tls = readTlsFiles(options.tls);
    mesh.mend = (link) => void this.#mend(link);
  }

  /** Of the listener. */
  get port(): number {
    return this.#listener!.port;
  }

  close(): void {
    this.#listener?.close();
  }

  /** @throws TensorloomError `IO` for a port in use */
  async listen(host: string, port: number): Promise<void> {
    const options: ListenerOptions = {
      host,
      port,
      key: this.#key,
      tls: this.#tls,
      maxFrameBytes: this.#options.maxFrameBytes,
      maxUnauthenticated: Math.max(64, 2 * this.#request.worldSize),
      welcome: (hello) => this.#welcome(hello),
      onConnection: (connection) => this.#attach(connection),
      onRefused: (kind, message) => this.#refused(kind, message),
    };
    try {
      this.#listener = await listen(options);
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
      // The main address may be one that is translated on the way to this host.
      if (code !== 'EADDRNOTAVAIL' || this.#options.bindAddress !== undefined || isLoopback(host)) throw error;
      this.#listener = await listen({ ...options, host: host.includes(':') ? '::' : '0.0.0.0' });
    }
  }

  #hello(to: number, host: string, port: number, nonce: string): Hello {
    const { jobId, rank, worldSize } = this.#request;
    const link = this.#mesh.link(to);
    const rest = { job: jobId, rank, to, worldSize, host, port, nonce };
    return { ...rest, version: PROTOCOL_VERSION, instance: this.#instance, received: link.received };
  }

  #welcome(hello: Hello): Hello | string {
    const { jobId, rank, worldSize } = this.#request;
    if (hello.version !== PROTOCOL_VERSION)
      return `it speaks version ${hello.version} of the protocol, this rank version ${PROTOCOL_VERSION}; install the same Tensorloom everywhere`;
    if (hello.job !== jobId) {
      // It has the token of this job: its launcher has given the process up that we know or wait for.
      if (isLaterAttempt(hello.job, jobId))
        this.#mesh.fail(lost(hello.rank, `was started anew, as job ${hello.job}${this.#mesh.during}`));
      return 'it belongs to another job';
    }
    if (hello.worldSize !== worldSize) return `it is of a world of ${hello.worldSize} ranks, this one of ${worldSize}`;
    if (hello.to !== rank) return `it looks for rank ${hello.to}, this is rank ${rank}`;
    const link = this.#mesh.links.get(hello.rank);
    if (link === undefined || hello.rank <= rank) return `there is no rank ${hello.rank} that connects to rank ${rank}`;
    if (link.peerInstance !== null && link.peerInstance !== hello.instance)
      return `another process is rank ${hello.rank} already`;
    if (this.#mesh.isClosed || link.hasLeft) return 'the job is over';
    if (!link.fits(hello.received)) return 'it has not received what it says';
    return this.#hello(hello.rank, this.#advertised, this.#listener?.port ?? 0, hello.nonce);
  }

  #attach(connection: Connection): void {
    const { rank, host, port } = connection.hello;
    if (rank > this.#request.rank) this.addresses.set(rank, { host, port });
    this.#mesh.link(rank).attach(connection);
  }

  /** Each kind of refusal is told once: whoever floods us shall not flood the log. */
  #refused(kind: string, message: string): void {
    if (this.#refusals.has(kind)) return;
    this.#refusals.add(kind);
    this.#warn(
      `[ws, rank ${this.#request.rank}] ${message} The job goes on; further ones of this kind are not logged.`,
    );
  }

  /** Tries until it works (true), it is too late, everything has failed, or `onRefused` says that the other process is gone (false). */
  async dialUntil(link: Link, deadline: number, onRefused: (() => boolean) | null = null): Promise<boolean> {
    for (let pauseMs = 20; !this.#isOver; pauseMs = Math.min(2 * pauseMs, 500)) {
      try {
        await this.#dial(link);
        return true;
      } catch (error) {
        this.lastProblem = (error as Error).message;
        if (error instanceof DialError && error.kind !== 'unreachable' && onRefused?.() === true) return false;
      }
      if (link.hasLeft || performance.now() + pauseMs > deadline) return false;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    return false;
  }

  async #dial(link: Link): Promise<void> {
    const { host, port } = this.addresses.get(link.peer)!;
    const common = { key: this.#key, tls: this.#tls, maxFrameBytes: this.#options.maxFrameBytes };
    const timeoutMs = Math.min(DIAL_TIMEOUT_MS, this.#request.rankTimeoutMs);
    const nonce = randomBytes(16).toString('hex');
    await dial(
      {
        ...common,
        host,
        port,
        timeoutMs,
        hello: (local) =>
          this.#hello(link.peer, isUnspecifiedHost(this.#advertised) ? local : this.#advertised, this.port, nonce),
      },
      (connection) => {
        const { hello } = connection;
        const isRight = hello.rank === link.peer && hello.nonce === nonce && link.fits(hello.received);
        if (!isRight || (link.peerInstance !== null && link.peerInstance !== hello.instance)) {
          connection.socket.terminate();
          throw new DialError('denied', `another process took the place of rank ${link.peer}`);
        }
        this.#attach(connection);
      },
    );
  }

  /** After a cut: the higher rank dials, the lower one waits for it; both find out whether the other process is still there. */
  async #mend(link: Link): Promise<void> {
    if (this.#mending.has(link.peer) || !this.addresses.has(link.peer)) return;
    this.#mending.add(link.peer);
    const { host, port } = this.addresses.get(link.peer)!;
    const patienceMs = isLoopback(host) ? REFUSED_LOOPBACK_MS : REFUSED_MS;
    let refusedSince: number | null = null;
    const isDead = () => {
      refusedSince ??= performance.now();
      if (performance.now() - refusedSince < patienceMs) return false;
      this.#mesh.lose(link, 'closed its connection and its process is gone');
      return true;
    };
    const deadline = performance.now() + this.#request.rankTimeoutMs;
    if (link.peer < this.#request.rank) await this.dialUntil(link, deadline, isDead);
    else
      while (!this.#isOver && !link.isConnected && !link.hasLeft && performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        if (link.isConnected) break;
        if (await probe(host, port, 1000)) refusedSince = null;
        else if (isDead()) break;
      }
    this.#mending.delete(link.peer);
    if (!this.#isOver && !link.isConnected && !link.hasLeft && performance.now() < deadline) void this.#mend(link);
  }

  get #isOver(): boolean {
    return this.#mesh.isClosed || this.#mesh.error !== null;
  }
}

/** Launchers number the attempts of a job: `NAME-0`, `NAME-1`, … */
function isLaterAttempt(job: string, ours: string): boolean {
  const [other, own] = [job, ours].map((each) => /^(.+)-(\d{1,9})$/.exec(each));
  return other?.[1] !== undefined && other[1] === own?.[1] && Number(other[2]) > Number(own[2]);
}

function isUnspecifiedHost(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === '';
}

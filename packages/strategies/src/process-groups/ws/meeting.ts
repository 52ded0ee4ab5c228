/** How the ranks meet: all tell the main rank where they listen, it tells all, and each connects to those below it. Later, how they find each other again after a cut. */
import { randomBytes } from 'node:crypto';
import { TensorloomError } from '@tensorloom/core/distributed';
import type { TransportRequest } from '../transport.ts';
import { chooseAddresses } from './addresses.ts';
import type { Connection } from './connection.ts';
import { dial, DialError, probe } from './dialer.ts';
import { PROTOCOL_VERSION, type Hello } from './handshake.ts';
import type { Link } from './link.ts';
import { listen, type Listener, type ListenerOptions } from './listener.ts';
import { lost, type Mesh } from './mesh.ts';
import { authenticationKey, isLoopback, type WsOptions } from './options.ts';
import { readTlsFiles, type TlsFiles } from './tls-files.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Longer than the main rank waits, so that its word on who is missing comes first. */
const PATIENCE_MS = 2000;
const DIAL_TIMEOUT_MS = 5000;
/** A host whose ports are refused for so long has no such process any more. Over a network, something else may refuse for a while. */
const REFUSED_LOOPBACK_MS = 250;
const REFUSED_MS = 3000;

export class Meeting {
  readonly #mesh: Mesh;
  readonly #request: TransportRequest;
  readonly #options: WsOptions;
  readonly #warn: (message: string) => void;
  readonly #instance = randomBytes(12).toString('hex');
  readonly #addresses = new Map<number, Address>();
  readonly #refusals = new Set<string>();
  readonly #mending = new Set<number>();
  #key = '';
  #tls: TlsFiles | undefined;
  #listener: Listener | null = null;
  #advertised = '';
  #lastProblem = '';

  constructor(mesh: Mesh, options: WsOptions, warn: (message: string) => void) {
    this.#mesh = mesh;
    this.#request = mesh.request;
    this.#options = options;
    this.#warn = warn;
    mesh.mend = (link) => void this.#mend(link);
    mesh.onAddresses = (addresses) => {
      for (const [peer, address] of addresses.entries()) this.#addresses.set(peer, address);
    };
  }

  get port(): number {
    return this.#listener!.port;
  }

  /** Resolves when this rank is connected to all. @throws TensorloomError `TIMEOUT`, `IO`, `BAD_OPTION` */
  async meet(): Promise<void> {
    const { rank, worldSize, mainAddress, mainPort, rankTimeoutMs } = this.#request;
    const deadline = performance.now() + rankTimeoutMs;
    const { bind, advertise } = await chooseAddresses(this.#options, mainAddress, rank === 0);
    this.#key = authenticationKey(this.#request, this.#options, bind);
    this.#tls = readTlsFiles(this.#options.tls);
    this.#advertised = advertise;
    this.#listener = await this.#listen(bind, rank === 0 ? mainPort : 0);
    if (rank === 0) {
      await this.#until(() => this.#missing(worldSize).length === 0, deadline);
      const missing = this.#missing(worldSize);
      if (missing.length > 0) throw this.#fail(this.#notCome(missing));
      const own = { host: advertise, port: this.#listener.port };
      const addresses = Array.from({ length: worldSize }, (_, peer) => this.#addresses.get(peer) ?? own);
      for (const peer of this.#mesh.links.keys()) this.#mesh.tell(peer, { type: 'addresses', addresses });
      return;
    }
    const main = mainAddress === 'localhost' ? '127.0.0.1' : mainAddress;
    this.#addresses.set(0, { host: main, port: mainPort });
    if (!(await this.#dialUntil(this.#mesh.link(0), deadline))) throw this.#fail(this.#mainNotCome());
    await this.#until(() => this.#addresses.size === worldSize, deadline + PATIENCE_MS);
    if (this.#addresses.size < worldSize) throw this.#fail(this.#notCome(this.#missing(worldSize)));
    // The main rank's own idea of its address may hold inside its host only.
    this.#addresses.set(0, { host: main, port: mainPort });
    const lower = [...this.#mesh.links.values()].filter(({ peer }) => peer > 0 && peer < rank);
    const until = Math.max(deadline, performance.now() + PATIENCE_MS);
    await Promise.all(lower.map((link) => this.#dialUntil(link, until)));
    await this.#until(() => this.#missing(worldSize).length === 0, until);
    const missing = this.#missing(worldSize);
    if (missing.length > 0) throw this.#fail(this.#notCome(missing));
  }

  close(): void {
    this.#listener?.close();
  }

  async #listen(host: string, port: number): Promise<Listener> {
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
      return await listen(options);
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
      // The main address may be one that is translated on the way to this host.
      if (code !== 'EADDRNOTAVAIL' || this.#options.bindAddress !== undefined || isLoopback(host)) throw error;
      return await listen({ ...options, host: host.includes(':') ? '::' : '0.0.0.0' });
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
    if (hello.job !== jobId) return 'it belongs to another job';
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
    if (rank > this.#request.rank) this.#addresses.set(rank, { host, port });
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

  /** Tries until it works (true), it is too late, or everything has failed (false). */
  async #dialUntil(link: Link, deadline: number, onRefused: (() => boolean) | null = null): Promise<boolean> {
    for (let pauseMs = 20; !this.#isOver; pauseMs = Math.min(2 * pauseMs, 500)) {
      try {
        await this.#dial(link);
        return true;
      } catch (error) {
        this.#lastProblem = (error as Error).message;
        if (error instanceof DialError && error.kind === 'refused' && onRefused?.() === true) return false;
      }
      if (link.hasLeft || performance.now() + pauseMs > deadline) return false;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    return false;
  }

  async #dial(link: Link): Promise<void> {
    const { host, port } = this.#addresses.get(link.peer)!;
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
          this.#hello(
            link.peer,
            isUnspecifiedHost(this.#advertised) ? local : this.#advertised,
            this.#listener!.port,
            nonce,
          ),
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
    if (this.#mending.has(link.peer) || !this.#addresses.has(link.peer)) return;
    this.#mending.add(link.peer);
    const { host, port } = this.#addresses.get(link.peer)!;
    const patienceMs = isLoopback(host) ? REFUSED_LOOPBACK_MS : REFUSED_MS;
    let refusedSince: number | null = null;
    const isDead = () => {
      refusedSince ??= performance.now();
      if (performance.now() - refusedSince < patienceMs) return false;
      this.#mesh.fail(lost(link.peer, `closed its connection and its process is gone${this.#mesh.during}`));
      return true;
    };
    const deadline = performance.now() + this.#request.rankTimeoutMs;
    if (link.peer < this.#request.rank) await this.#dialUntil(link, deadline, isDead);
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

  #missing(worldSize: number): number[] {
    return Array.from({ length: worldSize }, (_, peer) => peer).filter(
      (peer) => peer !== this.#request.rank && this.#mesh.link(peer).peerInstance === null,
    );
  }

  #notCome(missing: readonly number[]): TensorloomError {
    const { worldSize, rankTimeoutMs, mainAddress, mainPort } = this.#request;
    const one = missing.length === 1;
    return new TensorloomError(
      'TIMEOUT',
      `The world has ${worldSize} ranks, and rank${one ? '' : 's'} ${missing.join(', ')} did not come to ${mainAddress}:${mainPort} within ${rankTimeoutMs / 1000} s. ` +
        `Start all of them with the same main address, port and token.`,
    );
  }

  #mainNotCome(): TensorloomError {
    const { mainAddress, mainPort, rankTimeoutMs, rank } = this.#request;
    const problem = this.#lastProblem === '' ? '' : ` (last: ${this.#lastProblem})`;
    return new TensorloomError(
      'TIMEOUT',
      `Rank ${rank} did not reach rank 0, the main rank, at ${mainAddress}:${mainPort} within ${rankTimeoutMs / 1000} s${problem}. ` +
        `Start it with the same main address, port and token.`,
    );
  }

  /** What failed first: perhaps another rank told us meanwhile. */
  #fail(error: TensorloomError): TensorloomError {
    this.#mesh.fail(error);
    return this.#mesh.error ?? error;
  }

  async #until(isDone: () => boolean, deadline: number): Promise<void> {
    while (!isDone() && performance.now() < deadline) {
      if (this.#mesh.error !== null) throw this.#mesh.error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

function isUnspecifiedHost(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === '';
}

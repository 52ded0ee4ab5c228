/** How the ranks meet: all tell the main rank where they listen, it tells all, and each connects to those below it. */
import { TensorloomError } from '@tensorloom/core/distributed';
import type { TransportRequest } from '../transport.ts';
import { chooseAddresses } from './addresses.ts';
import { Contacts } from './contacts.ts';
import type { Mesh } from './mesh.ts';
import { authenticationKey, type WsOptions } from './options.ts';

/** At least so long for the connections between the others, once all have come. */
const PATIENCE_MS = 2000;

export class Meeting {
  readonly #mesh: Mesh;
  readonly #request: TransportRequest;
  readonly #options: WsOptions;
  readonly #warn: (message: string) => void;
  #contacts: Contacts | null = null;

  /** @param warn told once of each kind of connection that is refused */
  constructor(mesh: Mesh, options: WsOptions, warn: (message: string) => void) {
    this.#mesh = mesh;
    this.#request = mesh.request;
    this.#options = options;
    this.#warn = warn;
  }

  /** Resolves when this rank is connected to all. @throws TensorloomError `TIMEOUT`, `IO`, `BAD_OPTION` */
  async meet(): Promise<void> {
    const { rank, worldSize, mainAddress, mainPort, rankTimeoutMs } = this.#request;
    const deadline = performance.now() + rankTimeoutMs;
    const { bind, advertise } = await chooseAddresses(this.#options, mainAddress, rank === 0);
    const key = authenticationKey(this.#request, this.#options, bind);
    const contacts = (this.#contacts = new Contacts(this.#mesh, this.#options, key, advertise, this.#warn));
    const { addresses } = contacts;
    await contacts.listen(bind, rank === 0 ? mainPort : 0);
    if (rank === 0) {
      await this.#until(() => this.#missing(worldSize).length === 0, deadline);
      const missing = this.#missing(worldSize);
      if (missing.length > 0) throw this.#fail(this.#notCome(missing));
      const own = { host: advertise, port: contacts.port };
      const all = Array.from({ length: worldSize }, (_, peer) => addresses.get(peer) ?? own);
      for (const peer of this.#mesh.links.keys()) this.#mesh.tell(peer, { type: 'addresses', addresses: all });
      return;
    }
    this.#mesh.onAddresses = (all) => {
      for (const [peer, address] of all.entries()) addresses.set(peer, address);
    };
    const main = mainAddress === 'localhost' ? '127.0.0.1' : mainAddress;
    addresses.set(0, { host: main, port: mainPort });
    if (!(await contacts.dialUntil(this.#mesh.link(0), deadline)))
      throw this.#fail(this.#mainNotCome(contacts.lastProblem));
    // Only the main rank knows who is missing, and when its time is over: it may have begun later. If it falls silent, it is lost.
    await this.#until(() => addresses.size === worldSize, performance.now() + 2 * rankTimeoutMs + PATIENCE_MS);
    if (addresses.size < worldSize) throw this.#fail(this.#notCome(this.#missing(worldSize)));
    // The main rank's own idea of its address may hold inside its host only.
    addresses.set(0, { host: main, port: mainPort });
    const lower = [...this.#mesh.links.values()].filter(({ peer }) => peer > 0 && peer < rank);
    const until = performance.now() + Math.max(rankTimeoutMs, PATIENCE_MS);
    await Promise.all(lower.map((link) => contacts.dialUntil(link, until)));
    await this.#until(() => this.#missing(worldSize).length === 0, until);
    const missing = this.#missing(worldSize);
    if (missing.length > 0) throw this.#fail(this.#notCome(missing));
  }

  close(): void {
    this.#contacts?.close();
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

  #mainNotCome(lastProblem: string): TensorloomError {
    const { mainAddress, mainPort, rankTimeoutMs, rank } = this.#request;
    const problem = lastProblem === '' ? '' : ` (last: ${lastProblem})`;
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

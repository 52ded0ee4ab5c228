/** A process group whose bytes are moved by a thread of its own, so that communication goes on beside computation. */
import {
  bytesPerElement,
  failedWork,
  TensorloomError,
  viewOf,
  type ArrayOf,
  type CollectiveArray,
  type ElementType,
  type Work,
} from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { CollectiveGroup } from '../collective-group.ts';
import { checkMembers } from '../members.ts';
import type { TransportRequest } from '../transport.ts';
import type { Medium, TracedCall } from './protocol.ts';
import { SharedBuffers } from './shared-buffers.ts';
import { StagingPool } from './staging.ts';
import { ThreadClient } from './thread-client.ts';

/** What all groups of one communication thread share. */
interface Engine {
  readonly client: ThreadClient;
  readonly staging: StagingPool;
  readonly buffers: SharedBuffers;
  readonly closeTimeoutMs: number;
}

interface Place {
  readonly id: string;
  readonly rank: number;
  readonly globalRanks: readonly number[];
}

/**
 * Calls return at once. All groups of a process, also those made by `split`, share one thread and are served in the order of
 * the calls: ranks that are in several groups must use them in the same order.
 */
export class WorkerProcessGroup extends CollectiveGroup {
  readonly name: string;
  readonly rank: number;
  readonly worldSize: number;
  readonly globalRanks: readonly number[];
  readonly #engine: Engine;
  readonly #id: string;
  readonly #children: WorkerProcessGroup[] = [];
  #splits = 0;
  #isClosed = false;

  private constructor(engine: Engine, place: Place) {
    super();
    this.#engine = engine;
    this.#id = place.id;
    this.name = engine.client.medium;
    this.rank = place.rank;
    this.globalRanks = place.globalRanks;
    this.worldSize = place.globalRanks.length;
  }

  /**
   * Starts the thread and meets the other ranks.
   * @param options.trace keep what `trace` returns
   * @throws TensorloomError `RANK_LOST`, `TIMEOUT`, `UNSUPPORTED`
   */
  static async start(
    medium: Medium,
    request: TransportRequest,
    options: { readonly trace?: boolean } = {},
  ): Promise<WorkerProcessGroup> {
    const client = await ThreadClient.start(medium, request, options.trace ?? false);
    const buffers = new SharedBuffers((message) => {
      client.tell(message);
    });
    const staging = new StagingPool(undefined, (bytes) => buffers.allocate(bytes));
    const engine = { client, staging, buffers, closeTimeoutMs: request.rankTimeoutMs };
    const globalRanks = Array.from({ length: request.worldSize }, (_, rank) => rank);
    return new WorkerProcessGroup(engine, { id: '', rank: request.rank, globalRanks });
  }

  override allocate<E extends ElementType>(type: E, length: number): ArrayOf[E] {
    return viewOf(type, this.#engine.buffers.allocate(length * bytesPerElement(type)), 0, length);
  }

  protected submit(call: CollectiveCall): Work {
    if (this.#isClosed) return failedWork(new TensorloomError('MISUSE', 'The process group is closed.'));
    const { client, buffers } = this.#engine;
    client.settle();
    const { input, output, back } = this.#stage(call);
    const sequence = client.request(
      {
        type: 'call',
        group: this.#id,
        call: {
          ...call,
          input: input === null ? null : buffers.pieceOf(input),
          output: output === null ? null : buffers.pieceOf(output),
        },
      },
      back,
    );
    return new ThreadWork(client, sequence);
  }

  async split(ranks: readonly number[]): Promise<WorkerProcessGroup | null> {
    checkMembers(ranks, this.worldSize);
    const { client } = this.#engine;
    const id = `${this.#id}/${this.#splits++}`;
    await client.wait(client.request({ type: 'split', group: this.#id, ranks, id }));
    const rank = ranks.indexOf(this.rank);
    if (rank < 0) return null;
    const globalRanks = ranks.map((each) => this.globalRanks[each] as number);
    const child = new WorkerProcessGroup(this.#engine, { id, rank, globalRanks });
    this.#children.push(child);
    return child;
  }

  abort(reason: string): void {
    for (const child of this.#children) child.abort(reason);
    this.#engine.client.tell({ type: 'abort', group: this.#id, reason });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    for (const child of this.#children) await child.close();
    this.#isClosed = true;
    const { client, closeTimeoutMs } = this.#engine;
    if (this.#id === '') return client.close(closeTimeoutMs);
    await client.wait(client.request({ type: 'close', group: this.#id }));
  }

  /** What ran when in the communication thread since the last time; empty unless asked for at the start. */
  trace(): Promise<readonly TracedCall[]> {
    return this.#engine.client.trace();
  }

  /** Copies of arrays that other threads cannot see, and what brings the result back. */
  #stage(call: CollectiveCall): {
    readonly input: CollectiveArray | null;
    readonly output: CollectiveArray | null;
    readonly back: (error: Error | undefined) => void;
  } {
    const { staging } = this.#engine;
    const taken: SharedArrayBuffer[] = [];
    const copyOf = (data: CollectiveArray): CollectiveArray => {
      const memory = staging.take(data.byteLength);
      taken.push(memory);
      return viewOf(call.elementType, memory, 0, data.length);
    };
    const input = call.input === null || isShared(call.input) ? call.input : copyOf(call.input);
    if (input !== null && input !== call.input) input.set(call.input as CollectiveArray);
    let output = call.output;
    if (output !== null && !isShared(output)) output = call.output === call.input ? input : copyOf(output);
    const back = (error: Error | undefined): void => {
      if (error === undefined && call.output !== null && output !== null && output !== call.output)
        call.output.set(output);
      // What failed may still be written to; and this closure keeps the call's memory, which the thread knows by number only.
      if (error === undefined) for (const memory of taken) staging.give(memory);
    };
    return { input, output, back };
  }
}

class ThreadWork implements Work {
  readonly #client: ThreadClient;
  readonly #sequence: number;

  constructor(client: ThreadClient, sequence: number) {
    this.#client = client;
    this.#sequence = sequence;
  }

  get isDone(): boolean {
    return this.#client.isDone(this.#sequence);
  }

  waitSync(): void {
    this.#client.waitSync(this.#sequence);
  }

  get then(): PromiseLike<void>['then'] {
    return (...handlers) => this.#client.wait(this.#sequence).then(...handlers);
  }
}

function isShared(data: CollectiveArray): boolean {
  return data.buffer instanceof SharedArrayBuffer;
}

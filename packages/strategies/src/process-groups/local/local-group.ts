/** Ranks that are threads of one process: collectives over one SharedArrayBuffer, in the calling thread. */
import { BroadcastChannel } from 'node:worker_threads';
import { failedWork, finishedWork, type Work } from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { CollectiveGroup } from '../collective-group.ts';
import { checkMembers } from '../members.ts';
import { SegmentLayout, segmentSizes } from '../slots/layout.ts';
import { Segment, range, type SharedWords } from '../slots/segment.ts';
import { SlotCollectives } from '../slots/slot-collectives.ts';

export interface LocalGroupOptions {
  readonly rank: number;
  readonly worldSize: number;
  /** From `localMemory`, the same on all ranks: send it to each thread. */
  readonly memory: SharedArrayBuffer;
  /** How long a collective waits for ranks that do not come. Default 10 minutes. */
  readonly collectiveTimeoutMs?: number;
}

/** The memory of a group of `worldSize` threads. */
export function localMemory(worldSize: number): SharedArrayBuffer {
  return new SharedArrayBuffer(new SegmentLayout(segmentSizes(worldSize)).totalBytes);
}

let groups = 0;

/** For tests, and programs that keep all ranks in one process. Each call blocks its thread until this rank's part is done. */
export class LocalProcessGroup extends CollectiveGroup {
  readonly name = 'local';
  readonly rank: number;
  readonly worldSize: number;
  readonly globalRanks: readonly number[];
  readonly #segment: Segment;
  readonly #collectives: SlotCollectives;
  readonly #timeoutMs: number;
  readonly #id: string;
  #splits = 0;
  readonly #children: LocalProcessGroup[] = [];

  constructor(options: LocalGroupOptions, globalRanks = range(options.worldSize), id = 'local') {
    super();
    this.rank = options.rank;
    this.worldSize = options.worldSize;
    this.globalRanks = globalRanks;
    this.#timeoutMs = options.collectiveTimeoutMs ?? 600_000;
    this.#id = id;
    this.#segment = new Segment(atomicWords(options.memory), {
      rank: options.rank,
      names: globalRanks,
      sizes: segmentSizes(options.worldSize),
      collectiveTimeoutMs: this.#timeoutMs,
    });
    this.#collectives = new SlotCollectives(this.#segment);
  }

  protected submit(call: CollectiveCall): Work {
    try {
      this.#collectives.execute(call);
      return finishedWork();
    } catch (error) {
      return failedWork(error);
    }
  }

  async split(ranks: readonly number[]): Promise<LocalProcessGroup | null> {
    checkMembers(ranks, this.worldSize);
    // The name is drawn by rank 0, so that two jobs in one process never hear each other.
    const id = await this.broadcastObject(`${this.#id}.${this.#splits++}-${process.hrtime.bigint()}-${groups++}`, 0);
    const rank = ranks.indexOf(this.rank);
    const channel = rank >= 0 ? new BroadcastChannel(`tensorloom ${id}`) : undefined;
    try {
      const shared = channel === undefined || rank === 0 ? undefined : nextMessage(channel);
      await this.barrier('split');
      if (channel === undefined) return null;
      const memory = rank === 0 ? localMemory(ranks.length) : await (shared as Promise<SharedArrayBuffer>);
      if (rank === 0) channel.postMessage(memory);
      const options = { rank, worldSize: ranks.length, memory, collectiveTimeoutMs: this.#timeoutMs };
      const group = new LocalProcessGroup(
        options,
        ranks.map((r) => this.globalRanks[r] as number),
        id,
      );
      this.#children.push(group);
      // Nobody closes the channel before all have heard.
      await group.barrier('split');
      return group;
    } finally {
      channel?.close();
    }
  }

  abort(reason: string): void {
    for (const child of this.#children) child.abort(reason);
    this.#segment.abort(reason);
  }

  async close(): Promise<void> {
    for (const child of this.#children) await child.close();
    this.#segment.leave();
  }
}

function atomicWords(buffer: SharedArrayBuffer): SharedWords {
  const words = new Int32Array(buffer);
  return {
    buffer,
    wait: (index, value, timeoutMs) => void Atomics.wait(words, index, value, timeoutMs),
    wake: (index) => void Atomics.notify(words, index),
  };
}

function nextMessage(channel: BroadcastChannel): Promise<SharedArrayBuffer> {
  return new Promise((resolve) => {
    channel.onmessage = (event) => resolve((event as { readonly data: SharedArrayBuffer }).data);
  });
}

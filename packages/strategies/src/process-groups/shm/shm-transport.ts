/** The ranks of one host over shared memory. */
import { accessSync, constants } from 'node:fs';
import { TensorloomError } from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import { segmentSizes } from '../slots/layout.ts';
import { range, Segment } from '../slots/segment.ts';
import { SlotCollectives } from '../slots/slot-collectives.ts';
import type { Transport, TransportFactory } from '../transport.ts';
import { lookAround } from '../while-blocked.ts';
import { Liveness } from './liveness.ts';
import { missingForMapping, type Mapping } from './libc.ts';
import { openShared, removeShared } from './shared-file.ts';

/** What is missing to use shared memory on this machine, or null. */
export function shmUnavailable(): string | null {
  const missing = missingForMapping();
  if (missing !== null) return missing;
  try {
    accessSync('/dev/shm', constants.W_OK);
    return null;
  } catch (error) {
    return `/dev/shm cannot be written to (${(error as Error).message})`;
  }
}

export interface ShmSettings {
  readonly jobId: string;
  readonly token: string | undefined;
  readonly collectiveTimeoutMs: number;
  /** How long ranks wait for each other at the start. */
  readonly rankTimeoutMs: number;
  /** How long a rank may give no sign of life. Default: `rankTimeoutMs`. */
  readonly silenceMs?: number;
}

export interface ShmPlace {
  /** Of the group within the job. */
  readonly id: string;
  readonly rank: number;
  /** Ranks in the world, by rank in the group. */
  readonly globalRanks: readonly number[];
}

/** `execute` blocks. A rank whose process dies, or gives no sign of life for `silenceMs`, is `RANK_LOST` on all others. */
export class ShmTransport implements Transport {
  readonly name = 'shm';
  readonly rank: number;
  readonly worldSize: number;
  readonly #globalRanks: readonly number[];
  readonly #segment: Segment;
  readonly #collectives: SlotCollectives;
  readonly #liveness: Liveness;
  readonly #mapping: Mapping;
  readonly #settings: ShmSettings;
  #isClosed = false;

  private constructor(mapping: Mapping, settings: ShmSettings, place: ShmPlace) {
    this.rank = place.rank;
    this.worldSize = place.globalRanks.length;
    this.#globalRanks = place.globalRanks;
    this.#mapping = mapping;
    this.#settings = settings;
    this.#segment = new Segment(mapping, {
      rank: place.rank,
      names: place.globalRanks,
      sizes: segmentSizes(this.worldSize),
      collectiveTimeoutMs: settings.collectiveTimeoutMs,
      checkAlive: (rank) => this.#liveness.trouble(rank),
      whileWaiting: () => {
        this.#liveness.beat();
        lookAround();
      },
    });
    this.#liveness = new Liveness(this.#segment, settings.silenceMs ?? settings.rankTimeoutMs);
    this.#collectives = new SlotCollectives(this.#segment);
  }

  /** Meets the others around a new segment. */
  static async meet(settings: ShmSettings, place: ShmPlace): Promise<ShmTransport> {
    const sizes = segmentSizes(place.globalRanks.length);
    const { jobId, token, rankTimeoutMs: timeoutMs } = settings;
    const { mapping, path } = await openShared({ jobId, token, id: place.id, rank: place.rank, sizes, timeoutMs });
    try {
      const transport = new ShmTransport(mapping, settings, place);
      await transport.#gather(timeoutMs);
      return transport;
    } finally {
      // All have it, or it has failed: from here on nothing is left behind, however the processes end.
      if (place.rank === 0) removeShared(path);
    }
  }

  execute(call: CollectiveCall): void {
    this.#segment.check();
    this.#liveness.beat();
    this.#collectives.execute(call);
  }

  /** All ranks call it: resolves when all have, without blocking the thread. A call right after it blocks only shortly. @param late as of `Segment` */
  comeTogether(what: string, late?: () => Promise<Error | null>): Promise<void> {
    return this.#segment.comeTogether(what, late);
  }

  async split(ranks: readonly number[], id: string): Promise<ShmTransport | null> {
    this.#segment.check();
    const rank = ranks.indexOf(this.rank);
    if (rank < 0) return null;
    return ShmTransport.meet(this.#settings, {
      id,
      rank,
      globalRanks: ranks.map((each) => this.#globalRanks[each] as number),
    });
  }

  abort(reason: string): void {
    if (!this.#isClosed) this.#segment.abort(reason);
  }

  /** Makes all ranks fail with `error`. */
  fail(error: Error): void {
    if (!this.#isClosed) this.#segment.fail(error);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#segment.leave();
    this.#liveness.stop();
    this.#mapping.unmap();
  }

  /** Waits until all ranks are there. */
  async #gather(timeoutMs: number): Promise<void> {
    const { words, layout } = this.#segment;
    const started = performance.now();
    for (;;) {
      const missing = range(this.worldSize).filter((rank) => Atomics.load(words, layout.presence(rank) >> 2) === 0);
      if (missing.length === 0) return;
      this.#segment.check();
      if (performance.now() - started > timeoutMs)
        throw this.#segment.fail(
          new TensorloomError(
            'TIMEOUT',
            `Rank${missing.length > 1 ? 's' : ''} ${missing.map((rank) => this.#globalRanks[rank]).join(', ')} did not come within ${timeoutMs / 1000} s; the world has ${this.worldSize} ranks on this host. Rank ${this.#globalRanks[this.rank]} waited.`,
          ),
        );
      lookAround();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

/** All ranks must be on one host. @throws TensorloomError `TIMEOUT`, `UNSUPPORTED`, `IO` */
export const createShmTransport: TransportFactory = async (request) => {
  const missing = shmUnavailable();
  if (missing !== null) throw new TensorloomError('UNSUPPORTED', `The process group 'shm' cannot be used: ${missing}.`);
  if (request.localWorldSize !== request.worldSize)
    throw new TensorloomError(
      'UNSUPPORTED',
      `The process group 'shm' is for the ranks of one host; ${request.localWorldSize} of ${request.worldSize} are on this one. Use 'auto' or 'ws'.`,
    );
  const { jobId, token, collectiveTimeoutMs, rankTimeoutMs } = request;
  const settings = { jobId, token, collectiveTimeoutMs, rankTimeoutMs };
  return ShmTransport.meet(settings, { id: '', rank: request.rank, globalRanks: range(request.worldSize) });
};

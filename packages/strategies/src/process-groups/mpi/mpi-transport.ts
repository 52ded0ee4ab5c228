/** The medium `mpi`: Open MPI's collectives, called from one thread. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { describeCall, type CollectiveCall } from '../collective-call.ts';
import type { Transport, TransportRequest } from '../transport.ts';
import { Agreement } from './agreement.ts';
import { MpiCollectives } from './collectives.ts';
import { Communicator, outInt } from './communicator.ts';
import { MpiMail } from './mail.ts';
import { loadMpi, UNDEFINED, type MpiLibrary } from './mpi-library.ts';
import { parseMpiOptions } from './mpi-options.ts';
import { Watchdog } from './watchdog.ts';

/** MPI's counts are C ints. */
const MAX_COUNT = 2 ** 31 - 1;
/** MPI_THREAD_SERIALIZED: any one thread at a time, and not only the process's main thread. */
const THREAD_SERIALIZED = 2;

/**
 * Joins MPI_COMM_WORLD. Once in a process: MPI cannot be initialized anew.
 *
 * Every call is agreed on first by small messages that are polled: there ranks that do not come are noticed, and calls that
 * differ, and news of another rank's failure. The bulk of the data then moves in one MPI call. `abort` and failures reach all
 * ranks by such messages; after them MPI is not finalized, and when the process ends, mpirun ends the others, as it does
 * when a rank is killed.
 * @throws TensorloomError `UNSUPPORTED` without Open MPI, or where MPI and the environment disagree about the ranks; `BAD_OPTION`
 */
export async function createMpiTransport(request: TransportRequest): Promise<Transport> {
  return joinMpi(request, MAX_COUNT);
}

/** As `createMpiTransport`. @param maxCount elements that one MPI call may carry; more go in rounds */
export async function joinMpi(request: TransportRequest, maxCount: number): Promise<Transport> {
  const { nonBlocking, library } = parseMpiOptions(request.options);
  const mpi = await loadMpi(library);
  initialize(mpi);
  const watchdog = nonBlocking ? null : new Watchdog(request.rank, request.collectiveTimeoutMs);
  const group = new Communicator(mpi, mpi.world, { watchdog, maxCount });
  if (group.rank !== request.rank || group.size !== request.worldSize)
    throw new TensorloomError(
      'UNSUPPORTED',
      `MPI has this process as rank ${group.rank} of ${group.size}, the cluster environment as rank ${request.rank} of ${request.worldSize}. Start all ranks with mpirun (or srun --mpi=pmix), or choose another process group.`,
    );
  return new MpiTransport(group, request.collectiveTimeoutMs, true);
}

function initialize(mpi: MpiLibrary): void {
  if (outInt((out) => mpi.call('Initialized', out)) !== 0)
    throw new TensorloomError(
      'UNSUPPORTED',
      'MPI was initialized in this process before; it can be only once. Use one process group of MPI, and `split` it.',
    );
  const provided = outInt((out) => mpi.call('Init_thread', null, null, THREAD_SERIALIZED, out));
  if (provided < THREAD_SERIALIZED)
    throw new TensorloomError(
      'UNSUPPORTED',
      'This Open MPI is built without support for threads (MPI_THREAD_SERIALIZED). Install one that has it.',
    );
}

export class MpiTransport implements Transport {
  readonly name = 'mpi';
  readonly rank: number;
  readonly worldSize: number;
  readonly #group: Communicator;
  readonly #isWorld: boolean;
  readonly #timeoutMs: number;
  readonly #agreement: Agreement;
  readonly #collectives: MpiCollectives;
  readonly #mail: MpiMail;
  #failure: TensorloomError | null = null;

  /** @param isWorld whether closing it ends MPI */
  constructor(group: Communicator, collectiveTimeoutMs: number, isWorld: boolean) {
    this.rank = group.rank;
    this.worldSize = group.size;
    this.#group = group;
    this.#isWorld = isWorld;
    this.#timeoutMs = collectiveTimeoutMs;
    this.#agreement = new Agreement(group, collectiveTimeoutMs, () => this.#failure);
    this.#collectives = new MpiCollectives(group, (call) =>
      this.#agreement.deadline(collectiveTimeoutMs, () => stopped(call, collectiveTimeoutMs)),
    );
    this.#mail = new MpiMail(group, this.#agreement, collectiveTimeoutMs);
  }

  async execute(call: CollectiveCall): Promise<void> {
    await this.#orFail(async () => {
      if (call.kind === 'send') return this.#mail.send(call);
      if (call.kind === 'receive') return this.#mail.receive(call);
      await this.#agreement.agree(describeCall(call));
      return this.#collectives.run(call);
    });
  }

  async split(ranks: readonly number[], id: string): Promise<Transport | null> {
    return this.#orFail(async () => {
      await this.#agreement.agree(`split into ranks ${ranks.join(', ')} (${id})`);
      const place = ranks.indexOf(this.rank);
      const group = this.#group.split(place < 0 ? UNDEFINED : 0, Math.max(0, place));
      return group === null ? null : new MpiTransport(group, this.#timeoutMs, false);
    });
  }

  abort(reason: string): void {
    if (this.#failure !== null) return;
    this.#failure = new TensorloomError('ABORTED', `Rank ${this.rank} ended the job: ${reason}`);
    void this.#agreement.tell(this.#failure).catch(() => {});
  }

  async close(): Promise<void> {
    // A rank that failed may have left the others in the middle of something that MPI_Finalize would wait for.
    if (this.#failure !== null) return;
    await this.#orFail(async () => {
      await this.#mail.close();
      if (!this.#isWorld) return this.#group.free();
      this.#group.mpi.call('Finalize');
      await this.#group.options.watchdog?.close();
    });
    this.#failure = new TensorloomError('MISUSE', 'The process group is closed.');
  }

  async #orFail<T>(action: () => Promise<T>): Promise<T> {
    if (this.#failure !== null) throw this.#failure;
    try {
      return await action();
    } catch (error) {
      const failure =
        error instanceof TensorloomError
          ? error
          : new TensorloomError('RANK_LOST', `mpi: ${String(error)}`, { cause: error });
      if (this.#failure === null) {
        this.#failure = failure;
        await this.#agreement.tell(failure);
      }
      throw this.#failure;
    }
  }
}

/** All ranks had come: one of them does not go on. */
function stopped(call: CollectiveCall, timeoutMs: number): TensorloomError {
  return new TensorloomError(
    'TIMEOUT',
    `${describeCall(call)} did not end within ${timeoutMs / 1000} s: a rank has stopped in the middle of it, or cannot be reached.`,
  );
}

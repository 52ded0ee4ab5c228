/** An MPI communicator with a second one beside it for our own words, and collectives that block or are polled. */
import { MpiRequest, waitFor } from './requests.ts';
import type { Watchdog } from './watchdog.ts';
import type { CollectiveName, MpiLibrary, NativeArgument, Pointer } from './mpi-library.ts';

export interface CommunicatorOptions {
  /** Of blocking collectives; null for polled ones (MPI_Iallreduce and its kin), which give up by themselves. */
  readonly watchdog: Watchdog | null;
  /** Elements that one MPI call can carry: its counts are C ints. */
  readonly maxCount: number;
}

export class Communicator {
  readonly rank: number;
  readonly size: number;
  /** For checks and notices: they must not mix with the user's messages. */
  readonly control: Pointer;

  constructor(
    readonly mpi: MpiLibrary,
    readonly handle: Pointer,
    readonly options: CommunicatorOptions,
  ) {
    mpi.call('Comm_set_errhandler', handle, mpi.errorsReturn);
    this.control = outHandle((out) => mpi.call('Comm_dup', handle, out));
    mpi.call('Comm_set_errhandler', this.control, mpi.errorsReturn);
    this.rank = outInt((out) => mpi.call('Comm_rank', handle, out));
    this.size = outInt((out) => mpi.call('Comm_size', handle, out));
  }

  /** A collective of the bulk of the data; the communicator comes last in `parameters`' place. @param look see `WaitOptions` */
  async collective(name: CollectiveName, parameters: readonly NativeArgument[], look: () => void): Promise<void> {
    const { watchdog } = this.options;
    if (watchdog !== null) return watchdog.watch(name, () => this.mpi.call(name, ...parameters, this.handle));
    const request = new MpiRequest(this.mpi, parameters);
    this.mpi.call(`I${name.toLowerCase() as Lowercase<CollectiveName>}`, ...parameters, this.handle, request.handle);
    await waitFor(() => request.test(), { look, patient: false });
  }

  send(data: NodeJS.TypedArray, type: Pointer, destination: number, tag: number, communicator: Pointer): MpiRequest {
    const request = new MpiRequest(this.mpi, [data]);
    this.mpi.call('Isend', data, data.length, type, destination, tag, communicator, request.handle);
    return request;
  }

  receive(data: NodeJS.TypedArray, type: Pointer, source: number, tag: number, communicator: Pointer): MpiRequest {
    const request = new MpiRequest(this.mpi, [data]);
    this.mpi.call('Irecv', data, data.length, type, source, tag, communicator, request.handle);
    return request;
  }

  /** The ranks that give the same `color` together, ordered by `key`; null for `UNDEFINED`. Blocks until all have called. */
  split(color: number, key: number): Communicator | null {
    const handle = outHandle((out) => this.mpi.call('Comm_split', this.handle, color, key, out));
    return color < 0 ? null : new Communicator(this.mpi, handle, this.options);
  }

  /** Of a communicator that `split` made. */
  free(): void {
    for (const handle of [this.control, this.handle]) this.mpi.call('Comm_free', BigUint64Array.of(handle));
  }
}

export function outInt(call: (out: Int32Array) => void): number {
  const out = new Int32Array(1);
  call(out);
  return out[0]!;
}

function outHandle(call: (out: BigUint64Array) => void): Pointer {
  const out = new BigUint64Array(1);
  call(out);
  return out[0]!;
}

/** Open MPI's C library, bound by koffi: functions, predefined handles, errors. */
import type * as KoffiModule from 'koffi';
import { TensorloomError, type ElementType, type ReduceOp } from '@tensorloom/core/distributed';

/** An address or an opaque handle; in C a pointer. */
export type Pointer = bigint;
export type NativeArgument = Pointer | number | ArrayBufferView | null;

/** Parameters, p: pointer, i: int. Those of collectives are without the request that `MPI_I…` takes last. */
const COLLECTIVES = {
  Allreduce: 'p p i p p p',
  Reduce_scatter: 'p p p p p p',
  Allgather: 'p i p p i p p',
  Allgatherv: 'p i p p p p p p',
  Bcast: 'p i p i p',
  Gatherv: 'p i p p p p p i p',
  Scatterv: 'p p p p p i p i p',
  Alltoallv: 'p p p p p p p p p',
} as const;
const OTHERS = {
  Init_thread: 'p p i p',
  Initialized: 'p',
  Finalize: '',
  Comm_rank: 'p p',
  Comm_size: 'p p',
  Comm_dup: 'p p',
  Comm_split: 'p i i p',
  Comm_free: 'p',
  Comm_set_errhandler: 'p p',
  Error_string: 'i p p',
  Isend: 'p i p i i p p',
  Irecv: 'p i p i i p p',
  Test: 'p p p',
  Iprobe: 'i i p p p',
} as const;

export type CollectiveName = keyof typeof COLLECTIVES;
type FunctionName = CollectiveName | `I${Lowercase<CollectiveName>}` | keyof typeof OTHERS;

/** MPI_UNDEFINED: a colour of nobody's group. */
export const UNDEFINED = -32_766;
export const ANY_SOURCE = -1;
/** MPI_IN_PLACE, as the buffer that is not given. */
export const IN_PLACE: Pointer = 1n;

/** The functions and handles that the transport uses. All calls come from one thread. */
export interface MpiLibrary {
  /** @throws TensorloomError `RANK_LOST` with MPI's own words if it fails */
  call(name: FunctionName, ...parameters: NativeArgument[]): void;
  readonly world: Pointer;
  readonly errorsReturn: Pointer;
  /** Halves travel as 16-bit words. */
  typeOf(type: ElementType): Pointer;
  opOf(op: ReduceOp): Pointer;
}

const INSTALL =
  'Install Open MPI (Debian, Ubuntu: `apt-get install openmpi-bin libopenmpi3`) and start the ranks with mpirun.';

/** Null where koffi and Open MPI's library can be loaded, else what is missing. */
export async function mpiUnavailable(library?: string): Promise<string | null> {
  try {
    await loadMpi(library);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/**
 * Loads the library; initializes nothing.
 * @param library a file, in place of `libmpi.so.40` and `libmpi.so`
 * @throws TensorloomError `UNSUPPORTED` saying what is missing and how to get it
 */
export async function loadMpi(library?: string): Promise<MpiLibrary> {
  const koffi = await importKoffi();
  const handle = openLibrary(koffi, library === undefined ? ['libmpi.so.40', 'libmpi.so', 'libmpi.dylib'] : [library]);
  const symbol = (name: string): Pointer => {
    try {
      return handle.symbol(name) as Pointer;
    } catch (error) {
      // Other implementations have the same functions, and handles of another kind.
      throw new TensorloomError(
        'UNSUPPORTED',
        `The MPI library that was found is not Open MPI: it has no ${name}. ${INSTALL}`,
        {
          cause: error,
        },
      );
    }
  };
  const world = symbol('ompi_mpi_comm_world');
  const functions = bindFunctions(handle);
  const types = {
    float32: 'float',
    float64: 'double',
    int32: 'int32_t',
    uint8: 'uint8_t',
    float16: 'uint16_t',
    bfloat16: 'uint16_t',
  };
  const ops = { sum: 'sum', mean: 'sum', product: 'prod', max: 'max', min: 'min' };
  const typeHandles = handles(types, (name) => symbol(`ompi_mpi_${name}`));
  const opHandles = handles(ops, (name) => symbol(`ompi_mpi_op_${name}`));
  return {
    world,
    errorsReturn: symbol('ompi_mpi_errors_return'),
    typeOf: (type) => typeHandles[type],
    opOf: (op) => opHandles[op],
    call: (name, ...parameters) => {
      const code = functions[name](...parameters);
      if (code !== 0) throw failure(functions, name, code);
    },
  };
}

type Koffi = Pick<typeof KoffiModule, 'load'>;
type NativeFunction = (...parameters: NativeArgument[]) => number;
type Functions = Readonly<Record<FunctionName, NativeFunction>>;

async function importKoffi(): Promise<Koffi> {
  try {
    return (await import('koffi')).default;
  } catch (error) {
    throw new TensorloomError(
      'UNSUPPORTED',
      'The package koffi, which calls C libraries, is not installed: `npm install koffi`.',
      {
        cause: error,
      },
    );
  }
}

function openLibrary(koffi: Koffi, names: readonly string[]): ReturnType<Koffi['load']> {
  const problems: string[] = [];
  for (const name of names) {
    try {
      // Global: Open MPI loads components that look for its symbols.
      return koffi.load(name, { global: true });
    } catch (error) {
      problems.push(`${name}: ${(error as Error).message}`);
    }
  }
  throw new TensorloomError('UNSUPPORTED', `No MPI library was found (${problems.join('; ')}). ${INSTALL}`);
}

function bindFunctions(handle: ReturnType<Koffi['load']>): Functions {
  const bind = (name: string, parameters: string): [string, NativeFunction] => {
    const types = parameters
      .split(' ')
      .filter((type) => type !== '')
      .map((type) => (type === 'p' ? 'void *' : 'int'));
    return [name, handle.func(`MPI_${name}`, 'int', types) as NativeFunction];
  };
  const bound = [
    ...Object.entries(OTHERS).map(([name, parameters]) => bind(name, parameters)),
    ...Object.entries(COLLECTIVES).flatMap(([name, parameters]) => [
      bind(name, parameters),
      bind(`I${name.toLowerCase()}`, `${parameters} p`),
    ]),
  ];
  return Object.fromEntries(bound) as Functions;
}

function handles<K extends string>(
  names: Readonly<Record<K, string>>,
  find: (name: string) => Pointer,
): Readonly<Record<K, Pointer>> {
  return Object.fromEntries(Object.entries<string>(names).map(([key, name]) => [key, find(name)])) as Record<
    K,
    Pointer
  >;
}

function failure(functions: Functions, name: string, code: number): TensorloomError {
  const text = new Uint8Array(1024);
  const length = new Int32Array(1);
  functions.Error_string(code, text, length);
  const said = new TextDecoder().decode(text.subarray(0, length[0]));
  return new TensorloomError('RANK_LOST', `MPI_${name} failed: ${said} (code ${code}).`);
}

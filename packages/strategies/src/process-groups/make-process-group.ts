/** Process groups by name, and what `auto` chooses. */
import { TensorloomError, type ProcessGroup } from '@tensorloom/core/distributed';
import { z } from 'zod';
import type { TransportRequest } from './transport.ts';
import { WorkerProcessGroup } from './worker/worker-group.ts';
import type { Medium } from './worker/protocol.ts';

/** Names that `makeProcessGroup` knows; `auto` is one of the others. */
export const PROCESS_GROUPS = ['shm', 'ws', 'mpi', 'shm+ws'] as const;
export type ProcessGroupName = (typeof PROCESS_GROUPS)[number];
/** What `auto` chooses among: `shm+ws or ws` leaves the rest of the choice to all ranks together. */
export type ChosenProcessGroup = ProcessGroupName | 'shm+ws or ws';

const media: Readonly<Record<ChosenProcessGroup, Medium>> = {
  shm: 'shm',
  ws: 'ws',
  mpi: 'mpi',
  'shm+ws': 'hierarchical',
  'shm+ws or ws': 'sharing',
};
/** Of the thread, whatever the medium is. */
const threadOptions = z.object({ trace: z.boolean().default(false) });

/** Meets the other ranks. @throws TensorloomError `RANK_LOST`, `TIMEOUT`, `UNSUPPORTED`, `BAD_OPTION` */
export async function makeProcessGroup(name: ChosenProcessGroup, request: TransportRequest): Promise<ProcessGroup> {
  const { trace: given, ...options } = request.options;
  const parsed = threadOptions.safeParse({ trace: given });
  if (!parsed.success)
    throw new TensorloomError(
      'BAD_OPTION',
      `Process group '${name}': trace is ${JSON.stringify(given)}; expected true or false.`,
    );
  await checkOptions(name, options);
  return WorkerProcessGroup.start(media[name], { ...request, options }, parsed.data);
}

/** What is missing to use a process group on this machine, or null. */
export async function missingFor(name: ProcessGroupName): Promise<string | null> {
  if (name === 'mpi') return (await import('./mpi/mpi-library.ts')).mpiUnavailable();
  return name === 'ws' ? null : (await import('./shm/shm-transport.ts')).shmUnavailable();
}

/**
 * The fastest that fits: what the environment prefers (mpi under mpirun), shared memory if all ranks are on one host, else shared
 * memory within hosts that have several ranks and WebSockets between hosts. All ranks choose alike: each knows only how many
 * ranks its own host has, so all that differs among hosts is settled when they have met.
 */
export async function chooseProcessGroup(
  request: Pick<TransportRequest, 'worldSize' | 'localWorldSize'>,
  preferred: string | undefined,
): Promise<ChosenProcessGroup> {
  if (preferred === 'mpi' && (await missingFor('mpi')) === null) return 'mpi';
  if (request.localWorldSize < request.worldSize) return 'shm+ws or ws';
  return (await missingFor('shm')) === null ? 'shm' : 'ws';
}

/** Here, before a thread is started: mistakes are told at once, on every rank. */
async function checkOptions(name: ChosenProcessGroup, options: TransportRequest['options']): Promise<void> {
  if (name === 'mpi') (await import('./mpi/mpi-options.ts')).parseMpiOptions(options);
  else if (name === 'shm') parseNoOptions(options);
  else (await import('./ws/index.ts')).parseWsOptions(options);
}

function parseNoOptions(options: TransportRequest['options']): void {
  const unknown = Object.keys(options);
  if (unknown.length > 0)
    throw new TensorloomError(
      'BAD_OPTION',
      `Process group 'shm': it has no option '${unknown.join("', '")}' (it has: trace).`,
    );
}

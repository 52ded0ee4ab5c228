/** What flags say of process groups, checked before anything is started. */
import { processGroups, type ClusterEnvironment } from '@tensorloom/core';
import { requireOneOf } from '../config/flags.ts';
import { flagName, type RunConfig } from '../config/schema.ts';
import { UsageError } from '../errors.ts';

type Where = Pick<ClusterEnvironment, 'name' | 'localWorldSize' | 'preferredProcessGroup'> | null;

/**
 * @param environment null for a process that was started alone
 * @throws UsageError for a name that is not known, and for `mpi` where our own launcher starts the ranks
 */
export function checkProcessGroup(name: string, worldSize: number, environment: Where): void {
  // `local` is for threads, which no flag makes.
  requireOneOf(
    'process group',
    name,
    processGroups.names().filter((known) => known !== 'local'),
  );
  const ours = environment === null || environment.name === 'tensorloom launch';
  if (name === 'mpi' && worldSize > 1 && ours)
    throw new UsageError(
      `--process-group=mpi: ranks that tensorloom starts are not known to MPI. Start them with \`mpirun -np ${worldSize} tensorloom …\` ` +
        'and leave out --devices, or leave out --process-group.',
    );
}

const wsOptions = ['listenAddress', 'networkInterface', 'tlsCertificate', 'tlsKey', 'tlsAuthority'] as const;

/**
 * @throws UsageError naming the flags of `ws` that are given where ranks talk otherwise
 */
export function refuseFlagsOfWs(
  config: Pick<RunConfig, 'processGroup' | (typeof wsOptions)[number]>,
  worldSize: number,
  environment: Where,
): void {
  const given = wsOptions.filter((key) => config[key] !== undefined).map((key) => `--${flagName(key)}`);
  if (given.length === 0 || worldSize === 1) return;
  const { processGroup } = config;
  const onOneMachine = environment === null || environment.localWorldSize === worldSize;
  const automatic = environment?.preferredProcessGroup ?? (onOneMachine ? 'shm' : 'ws');
  const taken = processGroup === 'auto' ? automatic : processGroup;
  if (taken !== 'shm' && taken !== 'mpi') return;
  const why = processGroup === 'auto' ? ', which auto takes here' : '';
  throw new UsageError(
    `${given.join(', ')}: for ranks that talk by ws, not by ${taken}${why}. Leave ${given.length === 1 ? 'it' : 'them'} out, or add --process-group=ws.`,
  );
}

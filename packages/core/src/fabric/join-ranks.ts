/** Starting the ranks of a job, and meeting them. */
import { rankLauncher, type LaunchRequest } from '../distributed/launcher.ts';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { processGroups } from '../distributed/process-groups.ts';
import { SingleProcessGroup } from '../distributed/single-process-group.ts';
import { TensorloomError } from '../errors.ts';
import type { ResolvedOptions } from './options.ts';
import type { World } from './world.ts';

/**
 * Runs this command line again once per rank, waits for them, and ends this process with their exit code: it never returns.
 * @throws TensorloomError `UNSUPPORTED` if no launcher is registered
 */
export async function startRanks(request: LaunchRequest): Promise<never> {
  const launcher = rankLauncher();
  if (launcher === undefined)
    throw new TensorloomError(
      'UNSUPPORTED',
      `Fabric: devices is ${request.devices}, but this process was started alone and no launcher is there to start the other ranks. ` +
        'Import @tensorloom/strategies before Fabric is made, or start the script with a launcher (tensorloom launch, torchrun, mpirun, srun).',
    );
  process.exit(await launcher(request));
}

/**
 * The group of all ranks of `world`; one rank alone needs no communication.
 * @throws UnknownNameError for a process group that is not registered
 * @throws TensorloomError `UNSUPPORTED`, `RANK_LOST`, `TIMEOUT`, `BAD_OPTION`
 */
export async function meetRanks(world: World, options: ResolvedOptions): Promise<ProcessGroup> {
  if (world.worldSize === 1) return new SingleProcessGroup();
  const { processGroup: name, collectiveTimeoutMs, rankTimeoutMs } = options;
  const entry = processGroups.get(name);
  const reason = await entry.unavailable();
  if (reason !== null) throw new TensorloomError('UNSUPPORTED', `Process group '${name}' cannot be used: ${reason}`);
  return entry.create({
    environment: world.environment,
    ...(collectiveTimeoutMs === undefined ? {} : { collectiveTimeoutMs }),
    ...(rankTimeoutMs === undefined ? {} : { rankTimeoutMs }),
    options: options.processGroupOptions,
  });
}

/**
 * Before any work starts.
 * @throws UnknownNameError for a name that is not registered
 * @throws TensorloomError `UNSUPPORTED` if there are several ranks and no process group is registered at all
 */
export function checkProcessGroupName(name: string, worldSize: number): void {
  if (worldSize > 1 && processGroups.names().length === 0)
    throw new TensorloomError(
      'UNSUPPORTED',
      `Fabric: this job has ${worldSize} ranks, but no process group is registered by which they could talk. ` +
        'Import @tensorloom/strategies before Fabric is made, or give a ProcessGroup as plugin.',
    );
  if (worldSize > 1 || name !== 'auto') processGroups.get(name);
}

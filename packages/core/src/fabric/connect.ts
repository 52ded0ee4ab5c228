/** Turns checked options into the pieces that Fabric runs on, refusing combinations that do not exist. */
import { accelerators, type Accelerator } from '../accelerators/accelerator.ts';
import '../accelerators/select.ts';
import { CheckpointFolderIO } from '../checkpoints/checkpoint-folder.ts';
import type { CheckpointIO } from '../checkpoints/checkpoint-io.ts';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import type { Precision } from '../precision/precision.ts';
import { checkPair, selectPrecision } from '../precision/select.ts';
import '../strategies/single-device.ts';
import { strategies, type Strategy } from '../strategies/strategy.ts';
import { checkProcessGroupName } from './join-ranks.ts';
import type { ResolvedOptions } from './options.ts';
import { sortPlugins } from './plugins.ts';
import { planWorld, refuseNodesWithoutLauncher, type World } from './world.ts';

export interface Connections {
  /** `auto` is decided at launch, since finding out what is usable loads libraries. */
  readonly accelerator: Accelerator | 'auto';
  readonly precision: Precision;
  readonly strategy: Strategy;
  readonly world: World;
  /** A plugin; otherwise the ranks meet at launch. */
  readonly processGroup: ProcessGroup | undefined;
  readonly checkpointIO: CheckpointIO;
}

/**
 * @param variables of the process, by which a launcher's environment is recognised
 * @throws UnknownNameError for names in no registry
 * @throws TensorloomError `CONFLICTING_OPTIONS`, `UNSUPPORTED`
 */
export function connect(
  options: ResolvedOptions,
  variables: Readonly<Record<string, string | undefined>>,
): Connections {
  const plugins = sortPlugins(options.plugins);
  if (plugins.precision !== undefined && options.precision !== undefined)
    throw new TensorloomError(
      'CONFLICTING_OPTIONS',
      `Fabric: precision '${typeof options.precision === 'string' ? options.precision : options.precision.name}' and the precision plugin '${plugins.precision.name}' are both given; leave one out.`,
    );
  const precision = plugins.precision ?? selectPrecision(options.precision ?? '32-true');
  const accelerator =
    typeof options.accelerator === 'object'
      ? options.accelerator
      : options.accelerator === 'auto'
        ? 'auto'
        : accelerators.get(options.accelerator).create();
  if (accelerator !== 'auto') checkPair(accelerator, precision);
  const world = planWorld(options, plugins, variables);
  const strategy = connectStrategy(options, world.worldSize);
  checkReach(strategy.name, world.worldSize);
  refuseNodesWithoutLauncher(world, options.numNodes, variables);
  if (plugins.processGroup === undefined) checkProcessGroupName(options.processGroup, joinedRanks(world));
  else refuseTwoGroups(options, plugins.processGroup);
  return {
    accelerator,
    precision,
    strategy,
    world,
    processGroup: plugins.processGroup,
    checkpointIO: plugins.checkpointIO ?? new CheckpointFolderIO(),
  };
}

/** Ranks that this process will meet itself. */
function joinedRanks({ mustStartRanks, worldSize }: World): number {
  return mustStartRanks ? 1 : worldSize;
}

function connectStrategy({ strategy, strategyOptions }: ResolvedOptions, worldSize: number): Strategy {
  if (typeof strategy === 'object') return strategy;
  if (strategy !== 'auto') return strategies.get(strategy).create(strategyOptions);
  if (worldSize === 1) return strategies.get('single').create(strategyOptions);
  if (!strategies.has('ddp'))
    throw new TensorloomError(
      'UNSUPPORTED',
      `Fabric: this job has ${worldSize} ranks, for which strategy 'auto' is 'ddp', but that is not registered. ` +
        'Import @tensorloom/strategies before Fabric is made, or give a strategy of your own.',
    );
  return strategies.get('ddp').create(strategyOptions);
}

function checkReach(strategyName: string, worldSize: number): void {
  if (worldSize === 1 || !strategies.has(strategyName) || strategies.get(strategyName).reach === 'multi') return;
  const several = strategies.names().filter((name) => strategies.get(name).reach === 'multi');
  throw new TensorloomError(
    'CONFLICTING_OPTIONS',
    `Fabric: strategy '${strategyName}' runs on one device, but ${worldSize} are asked for (devices × numNodes). ` +
      `Set devices to 1, or choose a strategy for several: ${several.join(', ') || '(none is registered: import @tensorloom/strategies)'}.`,
  );
}

function refuseTwoGroups({ processGroup, processGroupOptions }: ResolvedOptions, plugin: ProcessGroup): void {
  if (processGroup === 'auto' && Object.keys(processGroupOptions).length === 0) return;
  throw new TensorloomError(
    'CONFLICTING_OPTIONS',
    `Fabric: the process group '${plugin.name}' is given as plugin, and processGroup '${processGroup}' or processGroupOptions are given too; leave one out.`,
  );
}

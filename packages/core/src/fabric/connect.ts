/** Turns checked options into the pieces that Fabric runs on, refusing combinations that do not exist. */
import { accelerators, type Accelerator } from '../accelerators/accelerator.ts';
import '../accelerators/select.ts';
import { CheckpointFolderIO } from '../checkpoints/checkpoint-folder.ts';
import type { CheckpointIO } from '../checkpoints/checkpoint-io.ts';
import { SingleProcessEnvironment, type ClusterEnvironment } from '../distributed/cluster-environment.ts';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { SingleProcessGroup } from '../distributed/single-process-group.ts';
import { TensorloomError } from '../errors.ts';
import type { Precision } from '../precision/precision.ts';
import { checkPair, selectPrecision } from '../precision/select.ts';
import '../strategies/single-device.ts';
import { strategies, type Strategy } from '../strategies/strategy.ts';
import type { ResolvedOptions } from './options.ts';
import { sortPlugins } from './plugins.ts';

export interface Connections {
  /** `auto` is decided at launch, since finding out what is usable loads libraries. */
  readonly accelerator: Accelerator | 'auto';
  readonly precision: Precision;
  readonly strategy: Strategy;
  readonly environment: ClusterEnvironment;
  readonly processGroup: ProcessGroup;
  readonly checkpointIO: CheckpointIO;
  readonly deviceIndex: number;
}

/**
 * @throws UnknownNameError for names in no registry
 * @throws TensorloomError `CONFLICTING_OPTIONS`, `UNSUPPORTED`
 */
export function connect(options: ResolvedOptions): Connections {
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
  const environment = plugins.clusterEnvironment ?? new SingleProcessEnvironment();
  const processGroup = plugins.processGroup ?? new SingleProcessGroup();
  const strategy = connectStrategy(options);
  checkWorld(options, strategy.name, processGroup);
  return {
    accelerator,
    precision,
    strategy,
    environment,
    processGroup,
    checkpointIO: plugins.checkpointIO ?? new CheckpointFolderIO(),
    deviceIndex:
      typeof options.devices === 'object' ? (options.devices[environment.localRank] ?? 0) : environment.localRank,
  };
}

function connectStrategy({ strategy, strategyOptions }: ResolvedOptions): Strategy {
  if (typeof strategy === 'object') return strategy;
  return strategies.get(strategy === 'auto' ? 'single' : strategy).create(strategyOptions);
}

/** Number of ranks that the options ask for on all nodes. */
function askedRanks({ devices, numNodes }: ResolvedOptions): number {
  if (devices === 'auto') return numNodes;
  return (typeof devices === 'object' ? devices.length : devices) * numNodes;
}

function checkWorld(options: ResolvedOptions, strategyName: string, processGroup: ProcessGroup): void {
  const asked = askedRanks(options);
  if (asked === 1 && processGroup.worldSize === 1) return;
  if (strategies.has(strategyName) && strategies.get(strategyName).reach === 'single')
    throw new TensorloomError(
      'CONFLICTING_OPTIONS',
      `Fabric: strategy '${strategyName}' runs on one device, but ${Math.max(asked, processGroup.worldSize)} are asked for (devices × numNodes). ` +
        `Set devices to 1, or choose a strategy for several: ${
          strategies
            .names()
            .filter((name) => strategies.get(name).reach === 'multi')
            .join(', ') || '(none is registered)'
        }.`,
    );
  if (asked !== processGroup.worldSize)
    throw new TensorloomError(
      'UNSUPPORTED',
      `Fabric: ${asked} ranks are asked for (devices × numNodes), but this process is one of ${processGroup.worldSize}. Start it with a launcher, or give a ProcessGroup as plugin.`,
    );
}

/** The public surface of @tensorloom/strategies. Importing it registers the strategies. */
export { AccumulateStrategy, DEFAULT_ACCUMULATE, type AccumulateOptions } from './accumulate.ts';
export { DdpStrategy, type DdpOptions } from './ddp/ddp-strategy.ts';
export { Zero1Strategy, Zero2Strategy, type Zero1Options, type Zero2Options } from './zero/zero-strategy.ts';
export { FsdpStrategy, type FsdpOptions } from './fsdp/fsdp-strategy.ts';
export type { UnitPredicate } from './fsdp/units.ts';

import './process-groups/register.ts';
import './environments/tensorloom.ts';
import './environments/torchrun.ts';
import './environments/open-mpi.ts';
import './environments/kubernetes.ts';
import './environments/slurm.ts';
import './launcher/relaunch-this-command.ts';
export { launchRanks } from './launcher/launch-ranks.ts';
export type { LaunchOptions } from './launcher/launch-options.ts';
export { watchLauncher } from './launcher/watch-launcher.ts';
export { LocalProcessGroup, localMemory, type LocalGroupOptions } from './process-groups/local/local-group.ts';
export { WorkerProcessGroup } from './process-groups/worker/worker-group.ts';
export type { TracedCall } from './process-groups/worker/protocol.ts';

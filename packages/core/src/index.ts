export { tf, type Tensor, type Scalar } from './tensors.ts';
export { zeros } from './zeros.ts';
export { TensorloomError, UnknownNameError, suggestion, nearestName, type ErrorCode } from './errors.ts';
export { Registry } from './registry.ts';
export { hostValues } from './host-values.ts';
export { HostTensor, toDevice, type HostDType, type OnDevice } from './host-tensor.ts';
export type { Json, JsonObject, LoadOptions, StateDict, Stateful, StoredState, StoredTensor } from './stateful.ts';

export { Module, snakeCase } from './modules/module.ts';
export { Parameter, type Gradient } from './modules/parameter.ts';
export type { ShardedValue, ShardPlacement } from './modules/sharded-value.ts';
export {
  isTransformerBlock,
  plainExecution,
  type BlockExecution,
  type BlockParameters,
  type BlockProgram,
  type CompiledBlock,
  type TransformerBlock,
} from './modules/block-program.ts';
export { hookForward, type ForwardHooks } from './modules/hook-forward.ts';
export { mergeSorted, RowSparse } from './autograd/row-sparse.ts';
export { accumulatingOp, type AccumulatingOp, type Wanted } from './autograd/accumulating-op.ts';
export { checkpointed } from './autograd/checkpointed.ts';
export { accumulateGradient } from './autograd/accumulate.ts';
export { backward, type BackwardOptions, type LossOutput } from './autograd/backward.ts';
export { fusedOp, hasKernel, tensorOf, type FusedOpDefinition, type TensorOrParameter } from './ops/fused-op.ts';
export { linear } from './ops/linear.ts';
export { layerNorm } from './ops/layer-norm.ts';
export { geluTanh } from './ops/gelu-tanh.ts';
export { bloomAttention, bloomAttentionBias, type BloomAttentionOptions } from './ops/bloom-attention.ts';
export {
  embeddingLookup,
  type EmbeddingLookupAttributes,
  type EmbeddingLookupGradAttributes,
} from './ops/embedding-lookup.ts';
export { crossEntropy, type CrossEntropy } from './ops/cross-entropy.ts';
export { binaryCrossEntropyWithLogits, meanSquaredError } from './ops/losses.ts';
export { drawDropping, dropout, type Dropping, type SeedSource } from './ops/dropout.ts';
export {
  Optimizer,
  type DenseUpdate,
  type ParameterGroup,
  type ParameterGroups,
  type RowUpdate,
} from './optimizers/optimizer.ts';
export { Adam, AdamW, type AdamGroup, type AdamOptions } from './optimizers/adam.ts';
export { adamCorrections, type AdamStepAttributes } from './optimizers/adam-step.ts';
export { SGD, type SGDGroup, type SGDOptions, type SGDStepAttributes } from './optimizers/sgd.ts';
export type { RowStepAttributes } from './optimizers/row-step.ts';
export type { MemoryKind } from './memory-label.ts';
export { LearningRateSchedule, schedules, type ScheduleFactor, type ScheduleOptions } from './optimizers/schedules.ts';
export { clipGradients, gradientNorm, scaleGradients } from './optimizers/gradients.ts';
export { Metric } from './metrics/metric.ts';
export { Accuracy } from './metrics/accuracy.ts';
export { Mean, Perplexity } from './metrics/mean.ts';
export { GradientWindow } from './strategies/gradient-window.ts';
export type { BackwardHooks } from './strategies/backward-hooks.ts';
export { ownGradients, type Reduction, type Shard, type WindowTotals } from './strategies/reduction.ts';
export { WindowStrategy } from './strategies/window-strategy.ts';
export { heldBytes } from './strategies/held-bytes.ts';
export { refuseUnknownOptions, SingleDeviceStrategy } from './strategies/single-device.ts';

export {
  accelerators,
  type Accelerator,
  type AcceleratorEntry,
  type FloatStorage,
  type MemoryStatistics,
  type MemoryUsage,
} from './accelerators/accelerator.ts';
export { selectAccelerator, acceleratorsByPriority, type AcceleratorSelection } from './accelerators/select.ts';
export { precisions, type Precision, type PrecisionFactory } from './precision/precision.ts';
export { checkPair, describePairs, precisionName, selectPrecision } from './precision/select.ts';
export { withActivationStorage } from './precision/activation-storage.ts';
export {
  DynamicLossScaler,
  NoLossScaler,
  type DynamicLossScalerOptions,
  type LossScaler,
} from './precision/loss-scaler.ts';
export { TruePrecision } from './precision/true.ts';
export { MixedPrecision } from './precision/mixed.ts';
export {
  BFloat16Bits,
  bytesPerElement,
  elementTypeOf,
  failedWork,
  finishedWork,
  Float16Bits,
  viewOf,
  type ArrayOf,
  type CollectiveArray,
  type ElementType,
  type ProcessGroup,
  type ReduceOp,
  type Work,
} from './distributed/process-group.ts';
export { processGroups, type ProcessGroupEntry, type ProcessGroupRequest } from './distributed/process-groups.ts';
export { rankLauncher, registerRankLauncher, type LaunchRequest, type RankLauncher } from './distributed/launcher.ts';
export { SingleProcessGroup } from './distributed/single-process-group.ts';
export {
  clusterEnvironments,
  detectClusterEnvironment,
  SingleProcessEnvironment,
  type ClusterEnvironment,
  type ClusterEnvironmentEntry,
} from './distributed/cluster-environment.ts';
export {
  strategies,
  type BackwardRequest,
  type ClipOptions,
  type HeldBytes,
  type StepOptions,
  type StepResult,
  type Strategy,
  type StrategyContext,
  type StrategyEntry,
  type StrategyOptions,
} from './strategies/strategy.ts';
export { joinRows, storedInMemory } from './stored-tensor.ts';
export {
  openSafetensors,
  writeSafetensors,
  type LazyTensor,
  type SafetensorsFile,
  type WritableTensor,
} from './checkpoints/safetensors.ts';
export {
  writeFileAtomically,
  writeFolderAtomically,
  removeLeftovers,
  type ByteSink,
  type WrittenFile,
} from './checkpoints/atomic-write.ts';
export { makeFolders } from './checkpoints/make-folders.ts';
export { claimPartialFile, returnPartialFile } from './checkpoints/partial-file.ts';
export type { CheckpointContent, CheckpointIO, OpenedCheckpoint } from './checkpoints/checkpoint-io.ts';
export { completeCheckpoints, newestCompleteCheckpoint, pruneCheckpoints } from './checkpoints/retention.ts';
export { CheckpointFolderIO, isCompleteCheckpoint } from './checkpoints/checkpoint-folder.ts';
export { RandomGenerator, globalRandom, seedEverything } from './random.ts';

export { Fabric, type SetUpOptimizers } from './fabric/fabric.ts';
export type { LoadCheckpointOptions } from './fabric/fabric-state.ts';
export type { SetUpDataLoaderOptions } from './fabric/set-up-data-loader.ts';
export type { FabricOptions } from './fabric/options.ts';
export type { Plugin } from './fabric/plugins.ts';
export { unwrapModule, type FabricModule } from './fabric/fabric-module.ts';
export { unwrapOptimizer, type FabricOptimizer, type OptimizerInput } from './fabric/fabric-optimizer.ts';
export type { BlockReport } from './fabric/set-up-blocks.ts';
export { FabricDataLoader, type AnyLoader, type LoaderAbilities } from './fabric/fabric-data-loader.ts';
export type { BackwardOptions as FabricBackwardOptions, ClipGradientsOptions } from './fabric/call-options.ts';
export type { BackwardResult, TrainingCounts } from './fabric/training-steps.ts';
export type { CheckpointState, SaveFilter } from './fabric/checkpointing.ts';
export type { Gathered, Reducible } from './fabric/collectives.ts';
export type { Logger } from './loggers/logger.ts';
export { CsvLogger, type CsvLoggerOptions } from './loggers/csv-logger.ts';
export {
  Throughput,
  type ThroughputOptions,
  type ThroughputRates,
  type ThroughputSample,
} from './throughput/throughput.ts';
export { flopCounters, measureFlops, type FlopCounter } from './throughput/measure-flops.ts';
export { ThroughputMonitor, type BatchWork, type ThroughputMonitorOptions } from './throughput/throughput-monitor.ts';
export type { Callback } from './callbacks/callback.ts';

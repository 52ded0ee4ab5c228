export { tf, type Tensor, type Scalar } from './tensors.ts';
export { TensorloomError, UnknownNameError, suggestion, nearestName, type ErrorCode } from './errors.ts';
export { Registry } from './registry.ts';
export { HostTensor, toDevice, type HostDType, type OnDevice } from './host-tensor.ts';
export type { Json, JsonObject, LoadOptions, StateDict, Stateful, StoredState, StoredTensor } from './stateful.ts';

export { Module, snakeCase } from './modules/module.ts';
export { Parameter, type Gradient } from './modules/parameter.ts';
export { RowSparse } from './autograd/row-sparse.ts';
export { backward, type BackwardOptions, type LossOutput } from './autograd/backward.ts';
export { fusedOp, hasKernel, tensorOf, type FusedOpDefinition, type TensorOrParameter } from './ops/fused-op.ts';
export { linear } from './ops/linear.ts';
export { layerNorm } from './ops/layer-norm.ts';
export { geluTanh } from './ops/gelu-tanh.ts';
export { bloomAttention, bloomAttentionBias, type BloomAttentionOptions } from './ops/bloom-attention.ts';
export { embeddingLookup } from './ops/embedding-lookup.ts';
export { crossEntropy, type CrossEntropy } from './ops/cross-entropy.ts';
export { binaryCrossEntropyWithLogits, meanSquaredError } from './ops/losses.ts';
export { dropout, type SeedSource } from './ops/dropout.ts';
export { Optimizer, type ParameterGroup, type ParameterGroups } from './optimizers/optimizer.ts';

export { accelerators, type Accelerator, type AcceleratorEntry, type FloatStorage, type MemoryStatistics } from './accelerators/accelerator.ts';
export { selectAccelerator, acceleratorsByPriority, type AcceleratorSelection } from './accelerators/select.ts';
export { precisions, type Precision, type PrecisionFactory } from './precision/precision.ts';
export type { LossScaler } from './precision/loss-scaler.ts';
export type { CollectiveArray, ProcessGroup, ReduceOp } from './distributed/process-group.ts';
export {
  strategies,
  type BackwardRequest,
  type ClipOptions,
  type StepOptions,
  type StepResult,
  type Strategy,
  type StrategyContext,
  type StrategyEntry,
  type StrategyOptions,
} from './strategies/strategy.ts';
export { openSafetensors, writeSafetensors, type SafetensorsFile } from './checkpoints/safetensors.ts';
export { writeFileAtomically, writeFolderAtomically, removeLeftovers, type ByteSink, type WrittenFile } from './checkpoints/atomic-write.ts';
export { RandomGenerator, globalRandom, seedEverything } from './random.ts';

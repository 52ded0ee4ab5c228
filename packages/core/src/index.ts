export { tf, type Tensor, type Scalar } from './tensors.ts';
export { TensorloomError, UnknownNameError, suggestion, nearestName, type ErrorCode } from './errors.ts';
export { Registry } from './registry.ts';
export { HostTensor, toDevice, type HostDType, type OnDevice } from './host-tensor.ts';
export type { Json, JsonObject, LoadOptions, StateDict, Stateful, StoredState, StoredTensor } from './stateful.ts';

/** What communication threads need of core, by the name `@tensorloom/core/distributed`: without tensors, so that a thread starts fast and stays small. */
export { TensorloomError, type ErrorCode } from '../errors.ts';
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
} from './process-group.ts';

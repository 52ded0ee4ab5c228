/** What the models take and give, and the checks of it. */
import { TensorloomError, type Scalar, type Tensor } from '@tensorloom/core';

/** One micro-batch on the device. */
export interface BloomInputs {
  /** Token ids, [batch, seq] int32. */
  readonly inputIds: Tensor;
  /** 1 for tokens, 0 for padding, [batch, seq] int32. */
  readonly attentionMask: Tensor;
  /**
   * Classification: int32 [batch] (single label), float32 [batch] or [batch, numLabels] (regression), float32 [batch, numLabels] of 0 and 1 (multi label).
   * Language modelling: int32 [batch, seq], -100 where no loss is wanted; the model shifts them.
   */
  readonly labels?: Tensor;
}

/** `loss` is the mean over `items` items (reviews, or unmasked tokens). */
export interface WithLoss {
  /** Classification: [batch, numLabels]. Language modelling: [batch, seq, vocab]. */
  readonly logits: Tensor;
  readonly loss: Scalar;
  readonly items: number;
}

/** What a forward without labels gives. */
export interface WithoutLoss {
  readonly logits: Tensor;
}

/** The label that marks positions without a loss, as in PyTorch. */
export const ignoreIndex = -100;

/** @throws TensorloomError `MISUSE` if shapes or dtypes of ids and mask do not fit */
export function checkInputs({ inputIds, attentionMask }: BloomInputs): void {
  const describe = (tensor: Tensor): string => `${tensor.dtype} [${tensor.shape.join(', ')}]`;
  if (inputIds.rank !== 2 || inputIds.dtype !== 'int32')
    throw new TensorloomError('MISUSE', `inputIds must be int32 [batch, seq], got ${describe(inputIds)}.`);
  if (
    attentionMask.dtype !== 'int32' ||
    attentionMask.rank !== 2 ||
    attentionMask.shape.some((n, axis) => n !== inputIds.shape[axis])
  )
    throw new TensorloomError(
      'MISUSE',
      `attentionMask must be int32 [${inputIds.shape.join(', ')}] as inputIds is, got ${describe(attentionMask)}.`,
    );
}

/** @throws TensorloomError `MISUSE` if the labels have another shape or dtype than the loss needs */
export function checkLabels(
  labels: Tensor,
  dtype: 'int32' | 'float32',
  shape: readonly number[],
  purpose: string,
): void {
  if (labels.dtype !== dtype || labels.rank !== shape.length || labels.shape.some((n, axis) => n !== shape[axis]))
    throw new TensorloomError(
      'MISUSE',
      `Labels for ${purpose} must be ${dtype} [${shape.join(', ')}], got ${labels.dtype} [${labels.shape.join(', ')}].`,
    );
}

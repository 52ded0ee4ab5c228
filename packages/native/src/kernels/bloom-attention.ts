/** The fused operation `BloomAttention`: by tiles, keeping of its probabilities no more than one number for each row. */
import type { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernel, type NativeKernel } from './kernel.ts';

interface AttentionInputs {
  readonly fusedQkv: tf.TensorInfo;
  readonly attentionMask: tf.TensorInfo;
}

interface AttentionGradInputs extends AttentionInputs {
  readonly outputGradient: tf.TensorInfo;
  readonly context: tf.TensorInfo;
  readonly logSumExp: tf.TensorInfo;
}

interface AttentionAttributes {
  readonly heads: number;
  readonly slopes: readonly number[];
  readonly dropoutRate: number;
  readonly dropoutSeed: number;
}

export const bloomAttentionKernels: readonly NativeKernel[] = [
  kernel<AttentionInputs, AttentionAttributes>(
    'BloomAttention',
    (backend, { fusedQkv, attentionMask }, { heads, slopes, dropoutRate, dropoutSeed }) => {
      const [batch, seq, width] = fusedQkv.shape as [number, number, number];
      const [output, logSumExp] = addon().bloomAttention(
        backend.handle(fusedQkv),
        backend.handle(attentionMask),
        Float32Array.from(slopes),
        batch,
        seq,
        width / (3 * heads),
        dropoutRate,
        dropoutSeed,
        backend.activationStorage,
      );
      const context = backend.fromHandle(output, [batch, seq, width / 3]);
      return [context, backend.share(context), backend.fromHandle(logSumExp, [batch, heads, seq])];
    },
  ),
  kernel<AttentionGradInputs, AttentionAttributes>('BloomAttentionGrad', (backend, inputs, attributes) => {
    const { outputGradient, fusedQkv, attentionMask, context, logSumExp } = inputs;
    const { heads, slopes, dropoutRate, dropoutSeed } = attributes;
    const [batch, seq, width] = fusedQkv.shape as [number, number, number];
    const gradient = addon().bloomAttentionGradient(
      backend.handle(outputGradient),
      backend.handle(fusedQkv),
      backend.handle(attentionMask),
      backend.handle(context),
      backend.handle(logSumExp),
      Float32Array.from(slopes),
      batch,
      seq,
      width / (3 * heads),
      dropoutRate,
      dropoutSeed,
    );
    return backend.fromHandle(gradient, fusedQkv.shape);
  }),
];

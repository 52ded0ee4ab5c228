/** The fused operation `CrossEntropy`. */
import type { tf } from '@tensorloom/core';
import { addon } from '../addon.ts';
import { kernel, type NativeKernel } from './kernel.ts';

interface Inputs {
  readonly logits: tf.TensorInfo;
  readonly labels: tf.TensorInfo;
}

interface GradientInputs extends Inputs {
  readonly outputGradient: tf.TensorInfo;
  readonly logSumExp: tf.TensorInfo;
}

interface Attributes {
  readonly ignoreIndex: number;
  readonly items: number;
}

export const crossEntropyKernels: readonly NativeKernel[] = [
  kernel<Inputs, Attributes>('CrossEntropy', (backend, { logits, labels }, { ignoreIndex, items }) => {
    const [loss, logSumExp] = addon().crossEntropy(backend.handle(logits), backend.handle(labels), ignoreIndex, items);
    return [backend.fromHandle(loss, []), backend.fromHandle(logSumExp, labels.shape)];
  }),
  kernel<GradientInputs, Attributes>(
    'CrossEntropyGrad',
    (backend, { outputGradient, logits, labels, logSumExp }, { ignoreIndex, items }) => {
      const handle = backend.handle(logits);
      // One user of the data is the saved tensor that came here, which is freed after this: nobody will read the logits again.
      const mayOverwrite = backend.dataOf(logits.dataId).refCount === 1;
      const gradient = addon().crossEntropyGrad(
        backend.handle(outputGradient),
        handle,
        backend.handle(labels),
        backend.handle(logSumExp),
        ignoreIndex,
        items,
        mayOverwrite,
      );
      return gradient === handle ? backend.share(logits) : backend.fromHandle(gradient, logits.shape);
    },
  ),
];

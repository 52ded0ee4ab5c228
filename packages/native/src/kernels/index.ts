/** All kernels of this backend, by family. Those that are not here are tfjs's CPU kernels. */
import './flop-counters.ts';
import type { NativeKernel } from './kernel.ts';
import { binaryKernels } from './binary.ts';
import { bloomAttentionKernels } from './bloom-attention.ts';
import { crossEntropyKernels } from './cross-entropy.ts';
import { dropoutKernels } from './dropout.ts';
import { embeddingKernels } from './embedding.ts';
import { geluTanhKernels } from './gelu-tanh.ts';
import { gradientKernels } from './gradients.ts';
import { layerNormKernels } from './layer-norm.ts';
import { linearKernels } from './linear.ts';
import { matMulKernels } from './mat-mul.ts';
import { movementKernels } from './movement.ts';
import { optimizerKernels } from './optimizers.ts';
import { reductionKernels } from './reductions.ts';
import { softmaxKernels } from './softmax.ts';
import { transformerBlockKernels } from './transformer-block.ts';
import { unaryKernels } from './unary.ts';

export const kernels: readonly NativeKernel[] = [
  ...binaryKernels,
  ...bloomAttentionKernels,
  ...crossEntropyKernels,
  ...dropoutKernels,
  ...embeddingKernels,
  ...geluTanhKernels,
  ...gradientKernels,
  ...layerNormKernels,
  ...linearKernels,
  ...matMulKernels,
  ...movementKernels,
  ...optimizerKernels,
  ...reductionKernels,
  ...softmaxKernels,
  ...transformerBlockKernels,
  ...unaryKernels,
];

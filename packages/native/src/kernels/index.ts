/** All kernels of this backend, by family. Those that are not here are tfjs's CPU kernels. */
import { gradientKernels } from './gradients.ts';
import type { NativeKernel } from './kernel.ts';
import { binaryKernels } from './binary.ts';
import { bloomAttentionKernels } from './bloom-attention.ts';
import { dropoutKernels } from './dropout.ts';
import { embeddingKernels } from './embedding.ts';
import { geluTanhKernels } from './gelu-tanh.ts';
import { layerNormKernels } from './layer-norm.ts';
import { linearKernels } from './linear.ts';
import { matMulKernels } from './mat-mul.ts';
import { movementKernels } from './movement.ts';
import { unaryKernels } from './unary.ts';
import { optimizerKernels } from './optimizers.ts';

export const kernels: readonly NativeKernel[] = [
  ...binaryKernels,
  ...bloomAttentionKernels,
  ...dropoutKernels,
  ...geluTanhKernels,
  ...layerNormKernels,
  ...embeddingKernels,
  ...linearKernels,
  ...matMulKernels,
  ...movementKernels,
  ...unaryKernels,
  ...optimizerKernels,
  ...gradientKernels,
];

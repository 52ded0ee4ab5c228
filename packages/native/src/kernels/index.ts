/** All kernels of this backend, by family. Those that are not here are tfjs's CPU kernels. */
import { bloomAttentionKernels } from './bloom-attention.ts';
import { dropoutKernels } from './dropout.ts';
import type { NativeKernel } from './kernel.ts';
import { geluTanhKernels } from './gelu-tanh.ts';
import { layerNormKernels } from './layer-norm.ts';
import { linearKernels } from './linear.ts';
import { matMulKernels } from './mat-mul.ts';

export const kernels: readonly NativeKernel[] = [
  ...geluTanhKernels,
  ...layerNormKernels,
  ...bloomAttentionKernels,
  ...dropoutKernels,
  ...linearKernels,
  ...matMulKernels,
];

import { tf } from '@tensorloom/core';
import { expect, it } from 'vitest';
import { kernels } from './index.ts';

const list = (names: readonly string[]): string =>
  [...names]
    .sort()
    .map((name) => `- ${name}\n`)
    .join('');

it('KERNELS.md names all kernels of the engine, and those that are left to tfjs', async () => {
  const ours = kernels.map(({ kernelName }) => kernelName);
  const tfjs = tf.getKernelsForBackend('cpu').map(({ kernelName }) => kernelName);
  const text = `# Kernels of the backend \`native\`

\`npx vitest run -u src/kernels/coverage.test.ts\`, in this package, writes this file anew.

## Of the engine, for floats in every storage

Other types of elements (strings, complex numbers, and integers and booleans in most of them) are left to tfjs's CPU kernels.

${list(ours.filter((name) => tfjs.includes(name)))}
## Of the engine, fused operations that tfjs has not

${list(ours.filter((name) => !tfjs.includes(name)))}
## Left to tfjs's CPU kernels

They read the engine's memory where it lies.

${list(tfjs.filter((name) => !ours.includes(name)))}`;
  await expect(text).toMatchFileSnapshot('../../KERNELS.md');
});

/** Memory statistics and device names that all tfjs-backed accelerators share. */
import { availableParallelism, cpus } from 'node:os';
import { tf } from '../tensors.ts';
import type { MemoryStatistics } from './accelerator.ts';

/** What tfjs's engine accounts for. */
export function tfjsMemory(): MemoryStatistics {
  const { numBytes, numTensors } = tf.memory();
  return { currentBytes: numBytes, tensorCount: numTensors };
}

/** `AMD EPYC 9B14, 2 cores` */
export function cpuName(): string {
  const cores = availableParallelism();
  return `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${cores} ${cores === 1 ? 'core' : 'cores'}`;
}

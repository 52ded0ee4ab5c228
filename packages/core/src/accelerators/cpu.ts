/** tfjs's backend in plain JavaScript: slow, and always there. */
import { TensorloomError } from '../errors.ts';
import { tf } from '../tensors.ts';
import { accelerators, type Accelerator, type FloatStorage, type MemoryStatistics } from './accelerator.ts';
import { cpuName, tfjsMemory } from './tfjs-memory.ts';

/** JavaScript on one core: the reference that is always there. */
export class CpuAccelerator implements Accelerator {
  readonly name = 'cpu';
  readonly storages: readonly FloatStorage[] = ['float32'];

  unavailable(): Promise<string | null> {
    return Promise.resolve(null);
  }

  deviceCount(): number {
    return 1;
  }

  /** @throws TensorloomError `UNSUPPORTED` if tfjs refuses its own backend */
  async activate(): Promise<void> {
    if (!(await tf.setBackend('cpu')))
      throw new TensorloomError('UNSUPPORTED', "tfjs could not activate its backend 'cpu'.");
  }

  describe(): string {
    return `tfjs ${tf.version_core} in JavaScript, 1 thread, ${cpuName()}`;
  }

  memory(): MemoryStatistics {
    return tfjsMemory();
  }
}

accelerators.register('cpu', { priority: 10, create: () => new CpuAccelerator() });

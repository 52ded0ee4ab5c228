/** An accelerator for tests that really stores activations as float16: tfjs's cpu kernels with rounded results. */
import type { Accelerator, FloatStorage, MemoryStatistics } from '../accelerators/accelerator.ts';
import { tfjsMemory } from '../accelerators/tfjs-memory.ts';
import { roundToBfloat16, roundToFloat16 } from '../checkpoints/half.ts';
import { tf } from '../tensors.ts';
import { withActivationStorage } from './activation-storage.ts';

interface CpuBackend {
  readonly data: { get(dataId: object): { values: Float32Array } };
}

let storage: FloatStorage | null = null;

export class HalfStoringAccelerator implements Accelerator {
  readonly name = 'half-storing';
  readonly storages: readonly FloatStorage[] = ['float16', 'bfloat16', 'float32'];

  unavailable(): Promise<null> {
    return Promise.resolve(null);
  }

  deviceCount(): number {
    return 1;
  }

  async activate(): Promise<void> {
    if (tf.findBackendFactory(this.name) === null) await this.#register();
    await tf.setBackend(this.name);
  }

  describe(): string {
    return 'cpu with results rounded to halves, 1 core';
  }

  memory(): MemoryStatistics {
    return tfjsMemory();
  }

  setActivationStorage(next: FloatStorage | null): void {
    storage = next;
  }

  async #register(): Promise<void> {
    await tf.setBackend('cpu');
    const Cpu = tf.findBackend('cpu').constructor as new () => never;
    tf.registerBackend(this.name, () => new Cpu());
    for (const kernel of tf.getKernelsForBackend('cpu'))
      tf.registerKernel({
        ...kernel,
        backendName: this.name,
        kernelFunc: (call) => {
          const results = kernel.kernelFunc(call);
          const inputs = Object.values(call.inputs).flat() as tf.TensorInfo[];
          for (const result of Array.isArray(results) ? results : [results])
            store(result, inputs, call.backend as CpuBackend);
          return results;
        },
      });
  }
}

function store(result: tf.TensorInfo, inputs: readonly tf.TensorInfo[], backend: CpuBackend): void {
  // Views (reshape, identity) share their input's buffer: it stays as it is.
  if (storage === null || result.dtype !== 'float32' || inputs.some((input) => input?.dataId === result.dataId)) return;
  const { values } = backend.data.get(result.dataId);
  const round = storage === 'bfloat16' ? roundToBfloat16 : roundToFloat16;
  for (let i = 0; i < values.length; i++) values[i] = round(values[i]!);
}

/**
 * The identity, whose gradient is stored as a half: what the cast from half-precision predictions to a float32 loss does
 * on the way back, and where a loss scale that is too large overflows.
 */
export function lossBoundary(accelerator: Accelerator, predictions: tf.Tensor): tf.Tensor {
  return tf.customGrad((x) => ({
    value: tf.mul(x as tf.Tensor, 1),
    gradFunc: (dy: tf.Tensor) => withActivationStorage(accelerator, 'float16', () => tf.mul(dy, 1)),
  }))(predictions);
}

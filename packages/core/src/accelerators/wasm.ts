/** tfjs's WebAssembly backend (XNNPACK): vectorized, no native binary; its .wasm files come with the package. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { TensorloomError } from '../errors.ts';
import { tf } from '../tensors.ts';
import { accelerators, type Accelerator, type FloatStorage, type MemoryStatistics } from './accelerator.ts';
import { cpuName, tfjsMemory } from './tfjs-memory.ts';

const packageName = '@tensorflow/tfjs-backend-wasm';

/** WebAssembly with SIMD on one core; needs no native binary. */
export class WasmAccelerator implements Accelerator {
  readonly name = 'wasm';
  readonly storages: readonly FloatStorage[] = ['float32'];
  #failure: string | null | undefined;
  #simd = false;

  /** Loads the package; `null` if that worked. */
  async unavailable(): Promise<string | null> {
    if (this.#failure === undefined) this.#failure = await this.#load();
    return this.#failure;
  }

  deviceCount(): number {
    return 1;
  }

  /** @throws TensorloomError `UNSUPPORTED` if WebAssembly or the package's files are missing */
  async activate(): Promise<void> {
    const failure = await this.unavailable();
    if (failure !== null) throw new TensorloomError('UNSUPPORTED', `Accelerator 'wasm' cannot be used: ${failure}`);
    if (!(await tf.setBackend('wasm')))
      throw new TensorloomError('UNSUPPORTED', "tfjs could not activate its backend 'wasm'.");
    this.#simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT').then(Boolean);
  }

  describe(): string {
    return `tfjs-backend-wasm ${tf.version_core}, ${this.#simd ? 'SIMD' : 'no SIMD'}, 1 thread, ${cpuName()}`;
  }

  memory(): MemoryStatistics {
    return tfjsMemory();
  }

  async #load(): Promise<string | null> {
    if (!('WebAssembly' in globalThis)) return 'this Node.js runs without WebAssembly.';
    try {
      const entry = createRequire(import.meta.url).resolve(packageName);
      const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
      setWasmPaths(join(dirname(entry), '/'));
      return null;
    } catch (error) {
      return `${packageName} could not be loaded (${firstLine(error)}); run \`npm install\`.`;
    }
  }
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n')[0] as string;
}

accelerators.register('wasm', { priority: 20, create: () => new WasmAccelerator() });

/** libtensorflow through @tensorflow/tfjs-node-gpu or @tensorflow/tfjs-node, optional packages with a native binding. */
import { availableParallelism } from 'node:os';
import { TensorloomError } from '../errors.ts';
import { tf } from '../tensors.ts';
import { accelerators, type Accelerator, type FloatStorage, type MemoryStatistics } from './accelerator.ts';
import { loadTensorflowPackage, type LoadedPackage } from './tensorflow-package.ts';
import { cpuName, tfjsMemory } from './tfjs-memory.ts';

interface Loaded extends LoadedPackage {
  /** Threads wished for at load; libtensorflow reads them once per process. */
  readonly threads: number | undefined;
}

interface NodeBackend {
  readonly isUsingGpuDevice: boolean;
  readonly binding: { readonly TF_Version?: string };
}

/** libtensorflow is loaded once per process, whatever the number of accelerator objects. */
let loading: Promise<Loaded | { readonly failure: string }> | undefined;

/** libtensorflow, on the CPU or a CUDA card, where `npm run setup:tensorflow` has made it available. */
export class TensorflowAccelerator implements Accelerator {
  readonly name = 'tensorflow';
  readonly storages: readonly FloatStorage[] = ['float32'];
  #loaded: Loaded | undefined;

  /** Says whether a binding has been built; loads it, since only that shows whether it works. */
  async unavailable({ threads }: { readonly threads?: number } = {}): Promise<string | null> {
    return this.#load(threads);
  }

  deviceCount(): number {
    return 1;
  }

  /** `threads` counts where it is given first in a process; later calls keep what libtensorflow was loaded with. */
  async activate({ threads }: { readonly threads?: number } = {}): Promise<void> {
    const failure = await this.#load(threads);
    if (failure !== null)
      throw new TensorloomError('UNSUPPORTED', `Accelerator 'tensorflow' cannot be used: ${failure}`);
    if (!(await tf.setBackend('tensorflow')))
      throw new TensorloomError('UNSUPPORTED', "tfjs could not activate its backend 'tensorflow'.");
  }

  describe(): string {
    if (this.#loaded === undefined) return 'libtensorflow, not loaded yet';
    const { isUsingGpuDevice, binding } = tf.findBackend('tensorflow') as unknown as NodeBackend;
    const oneDnn = process.env['TF_ENABLE_ONEDNN_OPTS'] === '0' ? 'without oneDNN' : 'oneDNN';
    const threads = this.#loaded.threads ?? availableParallelism();
    const device = isUsingGpuDevice ? 'GPU' : `CPU, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${cpuName()}`;
    const { name, version } = this.#loaded;
    const notes = this.#loaded.notes.map((note) => ` (passed over: ${note})`).join('');
    return `libtensorflow ${binding.TF_Version ?? 'of unknown version'}, ${oneDnn}, ${name} ${version}, ${device}${notes}`;
  }

  memory(): MemoryStatistics {
    return tfjsMemory();
  }

  async #load(threads: number | undefined): Promise<string | null> {
    loading ??= load(threads);
    const outcome = await loading;
    if ('failure' in outcome) return outcome.failure;
    this.#loaded = outcome;
    return null;
  }
}

async function load(threads: number | undefined): Promise<Loaded | { readonly failure: string }> {
  prepareEnvironment(threads);
  const outcome = await loadTensorflowPackage();
  return 'failure' in outcome ? outcome : { ...outcome, threads: threads ?? threadsFromEnvironment() };
}

/** libtensorflow reads these when it is loaded; what the user has set stays. */
function prepareEnvironment(threads: number | undefined): void {
  process.env['TF_ENABLE_ONEDNN_OPTS'] ??= '1';
  // 2: errors only. Its greeting about CPU instructions is no news.
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
  if (threads === undefined) return;
  for (const name of ['TF_NUM_INTRAOP_THREADS', 'OMP_NUM_THREADS']) process.env[name] = String(threads);
}

function threadsFromEnvironment(): number | undefined {
  const given = process.env['TF_NUM_INTRAOP_THREADS'];
  return given === undefined || !/^[1-9]\d*$/.test(given) ? undefined : Number(given);
}

accelerators.register('tensorflow', { priority: 50, create: () => new TensorflowAccelerator() });

/** libtensorflow through @tensorflow/tfjs-node-gpu or @tensorflow/tfjs-node, optional packages with a native binding. */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { TensorloomError } from '../errors.ts';
import { tf } from '../tensors.ts';
import { accelerators, type Accelerator, type FloatStorage, type MemoryStatistics } from './accelerator.ts';
import { cpuName, tfjsMemory } from './tfjs-memory.ts';

/** In order of preference. */
const packages = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;
const advice = 'Get it with `npm run setup:tensorflow`.';

interface Loaded {
  readonly package: string;
  /** Threads wished for at load; libtensorflow reads them once per process. */
  readonly threads: number | undefined;
  /** What went wrong with packages of higher preference. */
  readonly notes: readonly string[];
}

interface NodeBackend {
  readonly isUsingGpuDevice: boolean;
  readonly binding: { readonly TF_Version?: string };
}

/** libtensorflow is loaded once per process, whatever the number of accelerator objects. */
let loading: Promise<Loaded | { readonly failure: string }> | undefined;

export class TensorflowAccelerator implements Accelerator {
  readonly name = 'tensorflow';
  readonly storages: readonly FloatStorage[] = ['float32'];
  #loaded: Loaded | undefined;

  /** Says whether a binding has been built; loads it, since only that shows whether it works. */
  async unavailable(): Promise<string | null> {
    return this.#load(undefined);
  }

  deviceCount(): number {
    return 1;
  }

  /** `threads` counts for the first activation of a process only; later ones keep what libtensorflow was loaded with. */
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
    const version = createRequire(import.meta.url)(`${this.#loaded.package}/package.json`) as { version: string };
    const notes = this.#loaded.notes.map((note) => ` (${note})`).join('');
    return `libtensorflow ${binding.TF_Version ?? 'of unknown version'}, ${oneDnn}, ${this.#loaded.package} ${version.version}, ${device}${notes}`;
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

async function load(threads: number | undefined): Promise<Loaded | { failure: string }> {
  prepareEnvironment(threads);
  const notes: string[] = [];
  const missing: string[] = [];
  for (const name of packages) {
    const absent = whyAbsent(name);
    if (absent !== null) {
      missing.push(absent);
      continue;
    }
    // Importing activates its backend: the one that was active is put back.
    const before = tf.engine().backendName;
    try {
      await import(name);
      if (before) await tf.setBackend(before);
      return { package: name, threads: threads ?? threadsFromEnvironment(), notes };
    } catch (error) {
      if (before) await tf.setBackend(before);
      notes.push(
        `${name} is installed but its binding does not load: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`,
      );
    }
  }
  if (notes.length > 0) return { failure: `${notes.join('; ')}. Rebuild it with \`npm run setup:tensorflow\`.` };
  return { failure: `${missing.join('; ')}. ${advice}` };
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

/** `null` if the package and a built binding are there. */
function whyAbsent(name: string): string | null {
  let folder: string;
  try {
    folder = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    return `${name} is not installed`;
  }
  const library = join(folder, 'lib');
  const built =
    existsSync(library) &&
    readdirSync(library).some((version) => existsSync(join(library, version, 'tfjs_binding.node')));
  return built ? null : `${name} is installed without its native binding`;
}

accelerators.register('tensorflow', { priority: 50, create: () => new TensorflowAccelerator() });

/** Finds and loads tfjs-node-gpu or tfjs-node; one that does not work leaves nothing behind in tfjs. */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { tf } from '../tensors.ts';

/** In order of preference. */
const packages = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;
const advice = 'Get it with `npm run setup:tensorflow`.';
const backend = 'tensorflow';
const requireFromHere = createRequire(import.meta.url);

export interface LoadedPackage {
  readonly name: string;
  readonly version: string;
  /** What went wrong with packages of higher preference that are set up. */
  readonly notes: readonly string[];
}

/** Loads the preferred package that works. The backend that was active stays active. */
export async function loadTensorflowPackage(): Promise<LoadedPackage | { readonly failure: string }> {
  const notes: string[] = [];
  const missing: string[] = [];
  for (const name of packages) {
    const found = findBinding(name);
    if ('absent' in found) {
      missing.push(found.absent);
      continue;
    }
    const problem = await load(name, found.binding);
    if (problem === null) {
      const { version } = requireFromHere(`${name}/package.json`) as { version: string };
      return { name, version, notes };
    }
    notes.push(`${name} is installed but does not load: ${problem}`);
  }
  if (notes.length > 0) return { failure: `${notes.join('; ')}. Set it up anew with \`npm run setup:tensorflow\`.` };
  return { failure: `${missing.join('; ')}. ${advice}` };
}

/** The native binding as node-pre-gyp finds it: the highest version of Node-API that this Node.js has. */
function findBinding(name: string): { readonly binding: string } | { readonly absent: string } {
  let library: string;
  try {
    library = join(dirname(requireFromHere.resolve(`${name}/package.json`)), 'lib');
  } catch {
    return { absent: `${name} is not installed` };
  }
  const candidates = (existsSync(library) ? readdirSync(library) : [])
    .map((folder) => ({ folder, version: Number(/^napi-v(\d+)$/.exec(folder)?.[1] ?? Infinity) }))
    .filter(({ version }) => version <= Number(process.versions.napi))
    .sort((a, b) => b.version - a.version)
    .map(({ folder }) => join(library, folder, 'tfjs_binding.node'));
  const binding = candidates.find((path) => existsSync(path));
  return binding === undefined ? { absent: `${name} is installed without its native binding` } : { binding };
}

/** `null`, or why it does not load. */
async function load(name: string, binding: string): Promise<string | null> {
  const kernels = kernelNames();
  const active = tf.engine().backendName;
  try {
    // First by itself: the package registers hundreds of kernels before it comes to its binding.
    requireFromHere(binding);
    requireFromHere(name);
    return null;
  } catch (error) {
    for (const kernel of kernelNames()) if (!kernels.has(kernel)) tf.unregisterKernel(kernel, backend);
    if (tf.engine().registryFactory[backend] !== undefined) tf.removeBackend(backend);
    return (error instanceof Error ? error.message : String(error)).split('\n')[0] as string;
  } finally {
    // Loading activates the package's backend.
    if (active) await tf.setBackend(active);
  }
}

function kernelNames(): Set<string> {
  return new Set(tf.getKernelsForBackend(backend).map(({ kernelName }) => kernelName));
}

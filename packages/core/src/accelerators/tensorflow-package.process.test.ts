/** Each case in a process of its own: what is loaded stays loaded. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const here = dirname(fileURLToPath(import.meta.url));
const packageFolder = dirname(dirname(here));
let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'fake-tensorflow-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Like tfjs-node: kernels first, then the backend, whose binding may be of no use. */
const main = (end: string) => `
const tf = require('@tensorflow/tfjs');
for (const kernelName of ['Add', 'MatMul']) tf.registerKernel({ kernelName, backendName: 'tensorflow', kernelFunc: () => {} });
${end}`;
const works = main(`
class Backend extends tf.KernelBackend { isUsingGpuDevice = false; binding = { TF_Version: '2.9.1' }; dispose() {} }
tf.registerBackend('tensorflow', () => new Backend(), 3);
tf.setBackend('tensorflow');`);
const throws = main(`
tf.registerBackend('tensorflow', () => { throw new Error('no CUDA'); }, 3);
throw new Error('Could not initialize TensorFlow backend.');`);

function fake(name: string, binding: string | null, index: string): string {
  const at = join(folder, name);
  mkdirSync(join(at, 'lib', 'napi-v8'), { recursive: true });
  writeFileSync(join(at, 'package.json'), JSON.stringify({ name, version: '4.22.0' }));
  writeFileSync(join(at, 'index.js'), index);
  if (binding !== null) writeFileSync(join(at, 'lib', 'napi-v8', 'tfjs_binding.node'), binding);
  return at;
}

interface Report {
  reason: string | null;
  chosen: string;
  description: string;
  skipped: { name: string; reason: string }[];
  kernels: string[];
  before: string;
  after: string;
}

/** What `auto` makes of these packages; fails if anything is written to stderr. */
async function examine(gpu: string | null, node: string | null): Promise<Report> {
  const script = `
import { accelerators, selectAccelerator, tf } from '@tensorloom/core';
await tf.setBackend('cpu');
const before = tf.getBackend();
const { accelerator, skipped } = await selectAccelerator('auto', [], { threads: 3 });
const reason = await accelerators.get('tensorflow').create().unavailable();
const kernels = tf.getKernelsForBackend('tensorflow').map(({ kernelName }) => kernelName);
const after = tf.getBackend();
await accelerator.activate({ deviceIndex: 0, threads: 3 });
console.log(JSON.stringify({ reason, chosen: accelerator.name, description: accelerator.describe(), skipped, kernels, before, after }));`;
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [
      ...['--require', join(here, 'fake-tensorflow.testing.cjs'), '--conditions=@tensorloom/source', '--import', 'tsx'],
      ...['--input-type=module', '--eval', script],
    ],
    {
      cwd: packageFolder,
      env: {
        ...process.env,
        FAKES: JSON.stringify({ '@tensorflow/tfjs-node-gpu': gpu, '@tensorflow/tfjs-node': node }),
      },
    },
  );
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Report;
}

describe('the packages of TensorFlow.js', () => {
  it('where none is installed, auto takes the next accelerator and says how to get one', async () => {
    const { chosen, reason, skipped, kernels } = await examine(null, null);
    expect(chosen).toBe('wasm');
    expect(reason).toMatch(/tfjs-node-gpu is not installed; @tensorflow\/tfjs-node is not installed.*setup:tensorflow/);
    expect(skipped).toEqual([{ name: 'tensorflow', reason }]);
    expect(kernels).toEqual(['AdamStep']);
  });

  it('one without its binding, or with one that does not load, is not used and leaves no kernels behind', async () => {
    const { chosen, reason, kernels } = await examine(fake('gpu', 'garbage', works), fake('node', null, works));
    expect(chosen).toBe('wasm');
    expect(reason).toMatch(/tfjs-node-gpu is installed but does not load: .+Set it up anew/);
    expect(kernels).toEqual(['AdamStep']);
  });

  it.each([
    ['whose binding does not load', 'garbage', works, /passed over: @tensorflow\/tfjs-node-gpu .* does not load: /],
    [
      'that fails after it registered kernels',
      'loads',
      throws,
      /does not load: Could not initialize TensorFlow backend/,
    ],
  ])('falls back from a tfjs-node-gpu %s to tfjs-node, and says so', async (_what, binding, index, note) => {
    const report = await examine(fake('gpu', binding, index), fake('node', 'loads', works));
    expect(report).toMatchObject({ chosen: 'tensorflow', reason: null, before: 'cpu', after: 'cpu' });
    expect(report.kernels.sort()).toEqual(['AdamStep', 'Add', 'MatMul']);
    expect(report.description).toMatch(/libtensorflow 2\.9\.1, .*@tensorflow\/tfjs-node 4\.22\.0, CPU, 3 threads/);
    expect(report.description).toMatch(note);
  });
});

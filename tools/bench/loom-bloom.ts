/**
 * Tensorloom's side of the bench: windows of micro-batches, driven by JSON lines on standard input, as peer_bloom.py's `serve` is.
 *
 *     loom-bloom.ts FOLDER BATCHES_JSON '{"accelerator": "native", "precision": "32-true", "compile": false, "fused": true, "activationCheckpointing": false, "threads": 2}'
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Adam, Fabric, tf } from '@tensorloom/core';
import { loadModelFolder } from '@tensorloom/models';
import '@tensorloom/native';
import '@tensorloom/strategies';

interface Batch {
  readonly inputIds: number[][];
  readonly labels: number[];
}

interface Side {
  readonly accelerator: string;
  readonly precision: string;
  readonly compile: boolean;
  /** false: operations are composed of tfjs's, as on a backend that has no kernels for them. */
  readonly fused: boolean;
  readonly activationCheckpointing: boolean;
  readonly threads: number;
}

/** Times of one window: the mean of a micro-batch's forward and backward, and the step that follows. */
interface Window {
  readonly microBatchSeconds: number;
  readonly stepSeconds: number;
  readonly losses: number[];
  /** The most memory that the process ever had resident. */
  readonly peakBytes: number;
  /** The most that tensors other than weights, gradients and moments ever took: activations, above all. Absent where the accelerator does not count. */
  readonly activationBytes: number | undefined;
}

const [folder, batchesFile, sideJson] = process.argv.slice(2);
if (folder === undefined || batchesFile === undefined || sideJson === undefined) {
  throw new Error('usage: loom-bloom.ts FOLDER BATCHES_JSON SIDE_JSON');
}
const { accelerator, precision, compile, fused, activationCheckpointing, threads } = JSON.parse(sideJson) as Side;

const batches = JSON.parse(readFileSync(batchesFile, 'utf8')) as Batch[];
const fabric = new Fabric({
  accelerator,
  precision,
  compile,
  activationCheckpointing,
  threads,
  strategy: 'accumulate',
  // The bench closes windows itself.
  strategyOptions: { accumulate: 1_000_000 },
});
await fabric.launch();
if (!fused) forgetFusedKernels();
const loaded = loadModelFolder(folder, 'sequence-classification').model;
const [model, optimizer] = await fabric.setup(loaded, (parameters) => new Adam(parameters, { lr: 5e-5 }));
model.train();

/** Forward and backward of each batch, then one Adam step on all. */
async function runWindow(indices: readonly number[]): Promise<Window> {
  const losses: number[] = [];
  let microBatchSeconds = 0;
  let stepSeconds = 0;
  for (const [i, index] of indices.entries()) {
    const batch = batches[index];
    if (batch === undefined) throw new Error(`there is no batch ${index}`);
    const inputIds = tf.tensor2d(batch.inputIds, undefined, 'int32');
    const inputs = { inputIds, attentionMask: tf.onesLike(inputIds), labels: tf.tensor1d(batch.labels, 'int32') };
    const started = performance.now();
    const { loss } = await fabric.backward(model, () => model.forward(inputs));
    losses.push(loss);
    microBatchSeconds += (performance.now() - started) / 1000 / indices.length;
    tf.dispose(inputs);
    const stepStarted = performance.now();
    const last = i === indices.length - 1;
    if ((await fabric.step(optimizer, { flush: last })) !== last)
      throw new Error('the optimizer did not step as asked');
    // A step may still be under way on the device: reading what it wrote waits for it.
    if (last) await [...model.namedParameters()].at(-1)?.[1].value.data();
    stepSeconds += (performance.now() - stepStarted) / 1000;
  }
  return {
    microBatchSeconds,
    stepSeconds,
    losses,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    activationBytes: fabric.accelerator.memory().byKind?.tensor.peakBytes,
  };
}

/** Fused operations have two kernels each, NAME and NAMEGrad; without them core composes the operations. */
function forgetFusedKernels(): void {
  const backend = tf.getBackend();
  const names = new Set(tf.getKernelsForBackend(backend).map(({ kernelName }) => kernelName));
  for (const name of names)
    if (names.has(`${name}Grad`)) {
      tf.unregisterKernel(name, backend);
      tf.unregisterKernel(`${name}Grad`, backend);
    }
}

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const parameters = [...model.namedParameters()].reduce((sum, [, parameter]) => sum + parameter.size, 0);
const how = `${precision}${compile ? ', compiled' : ''}${fused ? '' : ', of composites'}${activationCheckpointing ? ', activations recomputed' : ''}`;
say({ ready: true, what: `Tensorloom on ${fabric.accelerator.describe()}, ${how}`, parameters });
for await (const line of createInterface({ input: process.stdin })) {
  say(await runWindow((JSON.parse(line) as { batches: number[] }).batches));
}
process.exit(0);

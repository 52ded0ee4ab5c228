/**
 * Tensorloom's side of the bench: BLOOM trained one step per batch, driven by JSON lines on standard input, as peer_bloom.py's `serve` is.
 *
 *     loom-bloom.ts FOLDER BATCHES_JSON ACCELERATOR
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Adam, Fabric, tf } from '@tensorloom/core';
import { loadModelFolder } from '@tensorloom/models';
import '@tensorloom/strategies';

interface Batch {
  readonly inputIds: number[][];
  readonly labels: number[];
}

const [folder, batchesFile, accelerator] = process.argv.slice(2);
if (folder === undefined || batchesFile === undefined || accelerator === undefined) {
  throw new Error('usage: loom-bloom.ts FOLDER BATCHES_JSON ACCELERATOR');
}

const fabric = new Fabric({ accelerator, strategy: 'accumulate', strategyOptions: { accumulate: 1 } });
await fabric.launch();
const loaded = loadModelFolder(folder, 'sequence-classification').model;
const [model, optimizer] = await fabric.setup(loaded, (parameters) => new Adam(parameters, { lr: 5e-5 }));
model.train();

const batches = (JSON.parse(readFileSync(batchesFile, 'utf8')) as Batch[]).map(({ inputIds, labels }) => {
  const ids = tf.tensor2d(inputIds, undefined, 'int32');
  return { inputIds: ids, attentionMask: tf.onesLike(ids), labels: tf.tensor1d(labels, 'int32') };
});

/** Forward, backward and Adam step of each batch. */
async function train(indices: readonly number[]): Promise<{ seconds: number; losses: number[] }> {
  const losses: number[] = [];
  const started = performance.now();
  for (const index of indices) {
    const batch = batches[index];
    if (batch === undefined) throw new Error(`there is no batch ${index}`);
    const { loss } = await fabric.backward(model, () => model.forward(batch));
    if (!(await fabric.step(optimizer))) throw new Error('the optimizer did not step');
    losses.push(loss);
  }
  // A step may still be under way on the device: reading what it wrote waits for it.
  await [...model.namedParameters()].at(-1)?.[1].value.data();
  return { seconds: (performance.now() - started) / 1000, losses };
}

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const parameters = [...model.namedParameters()].reduce((sum, [, parameter]) => sum + parameter.size, 0);
say({ ready: true, what: `Tensorloom on ${fabric.accelerator.describe()}`, parameters });
for await (const line of createInterface({ input: process.stdin })) {
  say(await train((JSON.parse(line) as { batches: number[] }).batches));
}
process.exit(0);

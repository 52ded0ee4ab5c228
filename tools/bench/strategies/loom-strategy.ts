/**
 * One rank of the benches of strategies: trains a BLOOM with fresh weights and prints, on rank zero, tokens/s over all ranks, what each
 * rank holds and, if asked for, when computing and communicating went on.
 *
 *     loom-strategy.ts OPTIONS_JSON
 */
import { Adam, Fabric, tf, type FabricOptions } from '@tensorloom/core';
import { BloomForSequenceClassification, parseBloomConfig } from '@tensorloom/models';
import '@tensorloom/strategies';
import { makeBatches } from '../batches.mjs';

interface Options {
  readonly strategy: string;
  readonly strategyOptions: Record<string, unknown>;
  readonly accelerator: string;
  readonly threads: number;
  readonly processGroup: string;
  readonly vocabularySize: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly batchSize: number;
  readonly tokens: number;
  /** Micro-batches of each rank per optimizer step. */
  readonly accumulate: number;
  readonly warmUpSteps: number;
  readonly steps: number;
}

const options = JSON.parse(process.argv[2] as string) as Options;
const devices = Number(process.env['WORLD_SIZE'] ?? 1);
const fabricOptions: FabricOptions = {
  accelerator: options.accelerator,
  strategy: options.strategy,
  strategyOptions: { accumulate: options.accumulate, ...options.strategyOptions },
  devices,
  threads: options.threads,
  ...(devices > 1 && { processGroup: options.processGroup }),
};
const fabric = new Fabric(fabricOptions);
await fabric.launch();
fabric.seedEverything(123);
const config = parseBloomConfig({
  vocab_size: options.vocabularySize,
  hidden_size: options.hidden,
  n_layer: options.layers,
  n_head: options.heads,
  pad_token_id: 3,
  num_labels: 2,
});
const [model, optimizer] = await fabric.setup(
  new BloomForSequenceClassification(config),
  (parameters) => new Adam(parameters, { lr: 5e-5 }),
);
model.train();

const { batchSize, tokens, accumulate, vocabularySize } = options;
const perRank = (options.warmUpSteps + options.steps) * accumulate;
const all = makeBatches({ count: perRank * fabric.worldSize, batchSize, tokens, vocabularySize });
const own = all.filter((_, index) => index % fabric.worldSize === fabric.globalRank);

let next = 0;
/** Forward and backward of a window, and its step. Returns the seconds it took. */
async function step(): Promise<number> {
  await fabric.barrier();
  const started = performance.now();
  for (let i = 0; i < accumulate; i++) {
    const { inputIds, labels } = own[next++] as (typeof own)[number];
    const ids = tf.tensor2d(inputIds, undefined, 'int32');
    const batch = { inputIds: ids, attentionMask: tf.onesLike(ids), labels: tf.tensor1d(labels, 'int32') };
    await fabric.backward(model, () => model.forward(batch));
    tf.dispose(batch);
    if ((await fabric.step(optimizer)) !== (i === accumulate - 1)) throw new Error('the optimizer did not step');
  }
  await fabric.barrier();
  return (performance.now() - started) / 1000;
}

for (let i = 0; i < options.warmUpSteps; i++) await step();
let best = Infinity;
for (let i = 0; i < options.steps; i++) best = Math.min(best, await step());
const held = fabric.heldBytes();
const rss = process.memoryUsage().rss;
const byRank = await fabric.allGather({ ...(held as unknown as Record<string, number>), rss });
if (fabric.isGlobalZero)
  process.stdout.write(
    `${JSON.stringify({ tokensPerSecond: (batchSize * tokens * accumulate * fabric.worldSize) / best, byRank, what: fabric.accelerator.describe() })}\n`,
  );
await fabric.close();
process.exit(0);

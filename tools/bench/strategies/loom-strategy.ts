/**
 * One rank of the benches of strategies: trains a BLOOM with fresh weights and prints, on rank zero, tokens/s over all ranks, what each
 * rank holds and, if asked for, when computing and communicating went on.
 *
 *     loom-strategy.ts OPTIONS_JSON
 */
import { writeFileSync } from 'node:fs';
import { Adam, detectClusterEnvironment, Fabric, processGroups, tf, type FabricOptions } from '@tensorloom/core';
import { BloomForSequenceClassification, parseBloomConfig } from '@tensorloom/models';
import { WorkerProcessGroup } from '@tensorloom/strategies';
import { makeBatches } from '../batches.mjs';

interface Options {
  readonly strategy: string;
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
  /** Also tell what each rank held. */
  readonly measureMemory: boolean;
  /** Write what ran when to this file, for chrome://tracing or ui.perfetto.dev: a process per rank, lanes `compute` and `communication`. */
  readonly traceFile?: string;
}

const options = JSON.parse(process.argv[2] as string) as Options;
const devices = Number(process.env['WORLD_SIZE'] ?? 1);
const { traceFile } = options;
const tracedGroup = traceFile === undefined ? undefined : await joinTraced();
const fabricOptions: FabricOptions = {
  accelerator: options.accelerator,
  strategy: options.strategy,
  strategyOptions: { accumulate: options.accumulate },
  devices,
  threads: options.threads,
  ...(tracedGroup !== undefined && { plugins: [tracedGroup] }),
  ...(tracedGroup === undefined && devices > 1 && { processGroup: options.processGroup }),
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

interface Span {
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
}
const computed: Span[] = [];

async function timed<T>(name: string, run: () => Promise<T>): Promise<T> {
  const startMs = performance.timeOrigin + performance.now();
  const result = await run();
  computed.push({ name, startMs, endMs: performance.timeOrigin + performance.now() });
  return result;
}

/** The most that this rank has held at the end of a backward, when gradients are there. */
const held: Record<string, number> = {};

function noteHeldBytes(): void {
  if (!options.measureMemory) return;
  for (const [kind, bytes] of Object.entries(fabric.heldBytes() ?? {}) as [string, number][])
    held[kind] = Math.max(held[kind] ?? 0, bytes);
}

let next = 0;
/** Forward and backward of a window, and its step. Returns the seconds it took. */
async function step(): Promise<number> {
  await fabric.barrier();
  const started = performance.now();
  for (let i = 0; i < accumulate; i++) {
    const { inputIds, labels } = own[next++] as (typeof own)[number];
    const ids = tf.tensor2d(inputIds, undefined, 'int32');
    const batch = { inputIds: ids, attentionMask: tf.onesLike(ids), labels: tf.tensor1d(labels, 'int32') };
    await timed('forward and backward', () => fabric.backward(model, () => model.forward(batch)));
    tf.dispose(batch);
    noteHeldBytes();
    const stepped = await timed('step', () => fabric.step(optimizer));
    if (stepped !== (i === accumulate - 1)) throw new Error('the optimizer did not step');
  }
  await fabric.barrier();
  return (performance.now() - started) / 1000;
}

for (let i = 0; i < options.warmUpSteps; i++) await step();
computed.length = 0;
await tracedGroup?.trace();
let best = Infinity;
for (let i = 0; i < options.steps; i++) best = Math.min(best, await step());
const byRank = await fabric.allGather({ ...held, rss: process.memoryUsage().rss });
const hidden = await writeTrace();
if (fabric.isGlobalZero) {
  const rate = (batchSize * tokens * accumulate * fabric.worldSize) / best;
  const told = { tokensPerSecond: rate, byRank, hidden, what: fabric.accelerator.describe() };
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
await fabric.close();
process.exit(0);

/** The process group by itself, so that it can be asked for its trace. */
async function joinTraced(): Promise<WorkerProcessGroup> {
  const environment = detectClusterEnvironment(process.env);
  if (environment === null) throw new Error('a trace takes several ranks');
  const group = await processGroups.get(options.processGroup).create({ environment, options: { trace: true } });
  if (!(group instanceof WorkerProcessGroup)) throw new Error(`process group '${group.name}' has no trace`);
  return group;
}

/** Writes the trace of all ranks; gives the share of the time of bulk collectives that passed during forward and backward. */
async function writeTrace(): Promise<number | null> {
  if (tracedGroup === undefined || traceFile === undefined) return null;
  const calls = (await tracedGroup.trace()).map(({ call, startMs, endMs }) => ({ name: call, startMs, endMs }));
  const ranks = await tracedGroup.allGatherObject({ computed, calls });
  if (tracedGroup.rank !== 0) return null;
  const lanes = ranks.flatMap((rank, pid) => [
    ...rank.computed.map((span) => event(span, pid, 'compute')),
    ...rank.calls.map((span) => event(span, pid, 'communication')),
  ]);
  writeFileSync(traceFile, JSON.stringify({ traceEvents: lanes, displayTimeUnit: 'ms' }));
  const bulk = calls.filter(({ name }) => Number(/\[(\d+)/.exec(name)?.[1] ?? 0) >= 10_000);
  const backward = computed.filter(({ name }) => name === 'forward and backward');
  const total = bulk.reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0);
  const inside = bulk.reduce((sum, call) => sum + backward.reduce((part, span) => part + common(call, span), 0), 0);
  return inside / total;
}

function common(a: Span, b: Span): number {
  return Math.max(0, Math.min(a.endMs, b.endMs) - Math.max(a.startMs, b.startMs));
}

/** One bar of Chrome's trace format; times there are microseconds. */
function event({ name, startMs, endMs }: Span, pid: number, tid: string): object {
  return { name, ph: 'X', ts: startMs * 1000, dur: (endMs - startMs) * 1000, pid, tid };
}

/** For tests: a thread that is one of the ranks which train a small BLOOM on `native`, in some precision, by some strategy. */
import { parentPort, workerData } from 'node:worker_threads';
import {
  DynamicLossScaler,
  Fabric,
  MixedPrecision,
  selectPrecision,
  SGD,
  tf,
  toDevice,
  type Precision,
  type Scalar,
  type StoredState,
  type Tensor,
} from '@tensorloom/core';
import { LocalProcessGroup } from '@tensorloom/strategies';
import { readBatches } from '../verify/case-batches.ts';
import { buildModel } from '../verify/case-model.ts';
import type { ModelCase } from '../verify/model-case.ts';
import { closeCases, readReferenceFolder } from '../verify/reference-folder.ts';

/** One training run. */
export interface NativeRun {
  readonly strategy: string;
  readonly precision: string;
  readonly compile: boolean;
}

export interface NativeRankData {
  readonly rank: number;
  readonly worldSize: number;
  readonly memory: SharedArrayBuffer;
  readonly folder: string;
  readonly caseName: string;
  readonly runs: readonly NativeRun[];
}

export interface NativeRunResult extends NativeRun {
  /** Of this rank's micro-batches. */
  readonly losses: readonly number[];
  readonly stepped: readonly boolean[];
  /** The loss scale after each step. */
  readonly scales: readonly number[];
  /** After the run, by name; null on the other ranks if only rank zero has them. */
  readonly parameters: ReadonlyMap<string, Float32Array> | null;
}

const MICRO_BATCHES = 4;
const STEPS = 4;
/** In 16-mixed, of this step's micro-batches only the last, which the last rank has, overflows. */
const OVERFLOWING_STEP = 1;
const INITIAL_SCALE = 2 ** 40;

/** The loss as it is, with a gradient that the loss scale takes beyond float32. */
function steep(loss: Scalar): Scalar {
  return tf.customGrad((x) => ({
    value: (x as Tensor).clone(),
    gradFunc: (outputGradient: Tensor) => tf.mul(outputGradient, 1e30),
  }))(loss) as Scalar;
}

function precisionOf(name: string): Precision {
  if (name !== '16-mixed') return selectPrecision(name);
  return new MixedPrecision(name, 'float16', new DynamicLossScaler({ initialScale: INITIAL_SCALE }));
}

async function train(
  data: NativeRankData,
  read: ModelCase,
  { strategy, precision, compile }: NativeRun,
): Promise<NativeRunResult> {
  const { rank, worldSize, memory } = data;
  const fabric = new Fabric({
    accelerator: 'native',
    threads: 1,
    strategy,
    strategyOptions: { accumulate: MICRO_BATCHES / worldSize },
    devices: worldSize,
    precision: precisionOf(precision),
    compile,
    ...(worldSize > 1 && { plugins: [(group ??= new LocalProcessGroup({ rank, worldSize, memory }))] }),
  });
  await fabric.launch();
  const [model, optimizer] = await fabric.setup(
    buildModel(read.config, read.head, read.weights),
    (parameters) => new SGD(parameters, { lr: 0.1, momentum: 0.9 }),
  );
  const [losses, stepped, scales]: [number[], boolean[], number[]] = [[], [], []];
  const batches = readBatches(read);
  for (let step = 0; step < STEPS; step++)
    for (let index = rank; index < MICRO_BATCHES; index += worldSize) {
      const inputs = toDevice(batches[(step * MICRO_BATCHES + index) % batches.length]!);
      const overflows = precision === '16-mixed' && step === OVERFLOWING_STEP && index === MICRO_BATCHES - 1;
      const { loss } = await fabric.backward(model, () => {
        const { loss } = model.forward(inputs as Parameters<typeof model.forward>[0]);
        return { loss: overflows ? steep(loss as Scalar) : (loss as Scalar), items: 1 };
      });
      losses.push(loss);
      const took = await fabric.step(optimizer, { clipNorm: 5 });
      if (fabric.lastStep?.closed !== true) continue;
      stepped.push(took);
      scales.push(fabric.precision.lossScaler.scale);
      tf.dispose(Object.values(inputs));
    }
  const readAll = ({ tensors }: StoredState): Promise<Map<string, Float32Array>> =>
    Promise.resolve(new Map([...tensors].map(([name, stored]) => [name, Float32Array.from(stored.read().data)])));
  const parameters =
    fabric.strategy.withWholeModule === undefined
      ? new Map([...model.namedParameters()].map(([name, { value }]) => [name, Float32Array.from(value.dataSync())]))
      : ((await fabric.strategy.withWholeModule(model.unwrapped, readAll)) ?? null);
  optimizer.dispose();
  model.dispose();
  return { strategy, precision, compile, losses, stepped, scales, parameters };
}

async function runAll(data: NativeRankData): Promise<NativeRunResult[]> {
  const cases = readReferenceFolder(data.folder);
  try {
    const read = cases.find((each): each is ModelCase => each.kind === 'model' && each.name === data.caseName);
    if (read === undefined) throw new Error(`no case ${data.caseName} in ${data.folder}`);
    const results: NativeRunResult[] = [];
    for (const run of data.runs) results.push(await train(data, read, run));
    return results;
  } finally {
    closeCases(cases);
  }
}

/** All runs of a thread share one. */
let group: LocalProcessGroup | undefined;

parentPort?.postMessage(await runAll(workerData as NativeRankData));

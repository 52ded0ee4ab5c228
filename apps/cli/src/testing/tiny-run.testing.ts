/** For tests: a training run small enough for a test, with everything in it that could make a resumed run differ. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { accelerators, openSafetensors } from '@tensorloom/core';
import type { Summary } from '../run/summary.ts';
import { labelledLines, Workplace, type Finished, type Running } from './command-line.testing.ts';

/** 157 training texts in micro-batches of 3, accumulated over 4: the last window of an epoch is one micro-batch of one text. */
export const tinyRun = { microBatchesPerEpoch: 53, steps: 32, microBatches: 2 * 53 + 4 * 4, testTexts: 41 };

const options = [
  '--data=jsonl',
  '--data-path=data',
  '--model=bloom-tiny',
  '--hidden-size=16',
  '--layers=1',
  '--heads=2',
  '--vocabulary-size=300',
  '--max-length=16',
  '--dropout=0.1',
  '--micro-batch-size=3',
  '--accumulate=4',
  '--epochs=3',
  '--max-steps=32',
  '--lr=2e-3',
  '--schedule=linear',
  '--warmup-steps=5',
  '--log-every=7',
  '--keep-checkpoints=99',
  '--checkpoint-every=20',
  '--checkpoint-every-micro-batches=25',
];

/** A workplace with data, in which that run can be started on one accelerator. */
export class TinyRuns {
  readonly place = new Workplace();

  constructor(readonly accelerator: string) {
    mkdirSync(this.place.path('data'));
    this.place.write('data/train.jsonl', labelledLines(157, 1));
    this.place.write('data/validation.jsonl', labelledLines(30, 2));
    this.place.write('data/test.jsonl', labelledLines(tinyRun.testTexts, 3));
  }

  start(name: string, ...more: string[]): Running {
    return this.place.start(this.args(name, ...more));
  }

  train(name: string, ...more: string[]): Promise<Finished> {
    return this.start(name, ...more).finished;
  }

  /** The arguments of `train` for that run. */
  args(name: string, ...more: string[]): string[] {
    return ['train', ...options, `--accelerator=${this.accelerator}`, `--run-name=${name}`, ...more];
  }

  resume(name: string, ...more: string[]): Promise<Finished> {
    return this.place.run(['train', `--resume=runs/${name}`, ...more]);
  }

  path(name: string, ...parts: string[]): string {
    return this.place.path('runs', name, ...parts);
  }

  /** What is in summary.json of a finished run. */
  summary(name: string): Summary {
    return JSON.parse(readFileSync(this.path(name, 'summary.json'), 'utf8')) as Summary;
  }

  /** The largest difference between any two parameters of the same name of the models of two finished runs. */
  largestDifference(name: string, other: string): number {
    const [first, second] = [name, other].map((each) => openSafetensors(this.path(each, 'model', 'model.safetensors')));
    let largest = 0;
    for (const [parameter, stored] of first!.tensors) {
      const [a, b] = [stored.read().data, second!.tensors.get(parameter)!.read().data];
      a.forEach((value, index) => (largest = Math.max(largest, Math.abs(value - (b[index] as number)))));
    }
    first!.close();
    second!.close();
    return largest;
  }

  /** The newest first. */
  checkpoints(name: string): string[] {
    const folder = this.path(name, 'checkpoints');
    if (!existsSync(folder)) return [];
    const names = readdirSync(folder).filter((entry) => entry.startsWith('step-'));
    return names
      .sort()
      .reverse()
      .map((entry) => join(folder, entry));
  }

  /** Everything that makes the state of a finished run: all bytes of its last checkpoint and of its model. Times and memory differ from run to run. */
  finalState(name: string): Record<string, unknown> {
    const newest = this.checkpoints(name)[0] as string;
    const files = readdirSync(newest).filter((file) => file.endsWith('.safetensors'));
    const state = JSON.parse(readFileSync(join(newest, 'state.json'), 'utf8')) as {
      statefuls: unknown;
      values: { run: Record<string, unknown> };
    };
    const { secondsBefore: _1, trainingSeconds: _2, peakMemoryBytes: _3, ...progress } = state.values.run;
    return {
      checkpoint: newest.split('/').at(-1),
      files: Object.fromEntries(files.map((file) => [file, readFileSync(join(newest, file)).toString('base64')])),
      statefuls: state.statefuls,
      progress,
      model: readFileSync(this.path(name, 'model', 'model.safetensors')).toString('base64'),
    };
  }
}

/** `wasm`, and `tensorflow` where it is; says so where it is not, and fails if it must be there. */
export async function testedAccelerators(): Promise<string[]> {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  const why = await accelerators.get('tensorflow').create().unavailable();
  if (why === null) return ['wasm', 'tensorflow'];
  if (process.env.TENSORLOOM_REQUIRE_TENSORFLOW === '1')
    throw new Error(`TENSORLOOM_REQUIRE_TENSORFLOW=1, but: ${why}`);
  console.log(`not tried on accelerator tensorflow: ${why}`);
  return ['wasm'];
}

/** For tests: what every rank runs to try `fsdp` on a stack of blocks. Each run is a function by name. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hookForward, SGD, tf, type HeldBytes, type Parameter, type ProcessGroup } from '@tensorloom/core';
import type { Scenario } from '../testing/scenario.testing.ts';
import { stackBatch } from './fsdp-model.testing.ts';
import { adam, end, setUp, shareOf, start, train, whole, type FsdpInput, type FsdpResult } from './fsdp-run.testing.ts';
import { Gathering } from './gathering.ts';

export const scenario: Scenario<readonly FsdpInput[], FsdpResult[]> = async (group, inputs) => {
  const results: FsdpResult[] = [];
  for (const input of inputs) results.push(await (runs[input.run] as Run)(group, input));
  return results;
};

/** The same on this thread alone. */
export async function runAlone(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
  return (runs[input.run] as Run)(group, { ...input, strategy: 'accumulate', options: {} });
}

type Run = (group: ProcessGroup, input: FsdpInput) => Promise<FsdpResult>;

const runs: Readonly<Record<string, Run>> = {
  /** Six steps; the whole module after them. */
  async train(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const run = await setUp(group, input);
    await train(run, 0, 1);
    const before = tf.memory().numTensors;
    await train(run, 1, input.steps ?? 6);
    const numbers = [before, tf.memory().numTensors];
    const result = { ...(await whole(run)), numbers };
    end(run);
    return result;
  },

  /** Blocks are frozen but for one norm; two optimizers, one of them of the head alone; some micro-batches are not synchronized. */
  async partly(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const run = await start(group, input);
    const { module, fabric } = run;
    for (const parameter of module.parameters())
      parameter.requiresGrad = /^(head|last_norm|h\.1\.post_norm|table)/.test(parameter.name);
    const trained = module.parameters().filter(({ name }) => name !== 'head');
    const [model, first, second] = await fabric.setup(
      module,
      adam(trained),
      () => new SGD([module.head as Parameter], { lr: 0.1, momentum: 0.9 }),
    );
    for (let step = 0; step < 4; step++) {
      const share = shareOf(run);
      for (const [i, microBatch] of share.entries()) {
        const batch = stackBatch(run.shape, step * 16 + microBatch);
        await fabric.noBackwardSync(model, i % 2 === 0 && i + 1 < share.length, () =>
          fabric.backward(model, () => model.forward(batch)),
        );
        await fabric.step(first);
        await fabric.step(second);
      }
    }
    const result = await whole({ fabric, model });
    first.dispose();
    second.dispose();
    module.dispose();
    return result;
  },

  /** Logits in evaluation: rank r has r + 1 batches at first and none on rank zero then; training goes on between and after. */
  async evaluate(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const run = await setUp(group, input);
    const logits: number[][] = [];
    const evaluate = async (counts: readonly number[]): Promise<void> => {
      run.model.eval();
      const from = counts.slice(0, group.rank).reduce((a, b) => a + b, 0);
      const own = group.worldSize === 1 ? counts.reduce((a, b) => a + b, 0) : (counts[group.rank] as number);
      for (let i = from; i < from + own; i++) {
        const output = run.model.forward(stackBatch(run.shape, 500 + i));
        logits.push([...output.logits.dataSync()]);
        tf.dispose(output as unknown as tf.TensorContainer);
      }
      await run.fabric.strategy.joinEvaluation?.();
      run.model.train();
    };
    const others = [0, 3, 2];
    // Before anything has shown what is used, and in which order.
    await evaluate(others);
    await train(run, 0, 2);
    await evaluate([1, 2, 3]);
    await evaluate([2, 2, 2]);
    await train(run, 2, 3);
    const result = { ...(await whole(run)), logits };
    end(run);
    return result;
  },

  /** What is held at rest, and at the most while steps are taken. */
  async memory(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const run = await setUp(group, input);
    const shards = run.fabric.heldBytes()?.parameters ?? 0;
    let mostGathered = 0;
    let mostWholeGradients = 0;
    const sample = (): void => {
      const { parameters = 0 } = run.fabric.heldBytes() ?? {};
      mostGathered = Math.max(mostGathered, parameters - shards);
      const gradients = run.module
        .parameters()
        .reduce((sum, { grad, size }) => sum + (grad === null ? 0 : 4 * size), 0);
      mostWholeGradients = Math.max(mostWholeGradients, gradients);
    };
    const { finish } = Gathering.prototype;
    Gathering.prototype.finish = function (this: Gathering): void {
      finish.call(this);
      sample();
    };
    for (const block of run.module.h) hookForward(block, { before: sample, after: sample });
    await train(run, 0, 2);
    // A window that is open: gradients are there.
    await run.fabric.backward(run.model, () => run.model.forward(stackBatch(run.shape, 99)));
    await group.barrier();
    Gathering.prototype.finish = finish;
    (run.fabric.strategy as unknown as { window: { reduction: { settle?(): void } } }).window.reduction.settle?.();
    const held = run.fabric.heldBytes() as HeldBytes;
    end(run);
    return { held, numbers: [shards, mostGathered, mostWholeGradients] };
  },

  /** Saves after two steps in the middle of a window, and goes on to the fourth. */
  async save(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const run = await setUp(group, input);
    await train(run, 0, 2);
    await run.fabric.save(join(input.folder as string, 'checkpoint'), { model: run.model, optimizer: run.optimizer });
    await train(run, 2, 4);
    const result = await whole(run);
    end(run);
    return result;
  },

  /** Loads what `save` saved, in any world, and takes the same two steps. */
  async resume(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const run = await setUp(group, input);
    await run.fabric.load(join(input.folder as string, 'checkpoint'), { model: run.model, optimizer: run.optimizer });
    await train(run, 2, 4);
    const result = await whole(run);
    end(run);
    return result;
  },

  /** Saves in the middle of the third window, and goes on with all made anew. */
  async interrupt(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const place = join(input.folder as string, `open-${String(input.options?.['reduceEachMicroBatch'])}`);
    let run = await setUp(group, input);
    await train(run, 0, 2);
    const share = shareOf(run);
    for (const [i, microBatch] of share.entries()) {
      const { model, fabric, optimizer, shape } = run;
      await fabric.backward(model, () => model.forward(stackBatch(shape, 2 * 16 + microBatch)));
      await fabric.step(optimizer, { clipNorm: 0.5 });
      if (i > 0) continue;
      await fabric.save(place, { model, optimizer });
      end(run);
      run = await setUp(group, input);
      await run.fabric.load(place, { model: run.model, optimizer: run.optimizer });
    }
    await train(run, 3, 4);
    const result = await whole(run);
    end(run);
    return result;
  },

  /** Reads a parameter where only one rank does, and the whole where all do, of which rank zero's part fails at last. */
  async outside(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const run = await setUp(group, input);
    const told = await caught(() => Promise.resolve(run.module.table.value.dataSync()));
    const rows = await run.fabric.withWholeModule(run.model, (state) =>
      Promise.resolve([...(state.tensors.get('table')?.readRows(8, 12).data ?? [])]),
    );
    const failed = await caught(() =>
      run.fabric.withWholeModule(run.model, () => Promise.reject(new Error('disk full'))),
    );
    const result = await whole(run);
    end(run);
    return { ...result, logits: [rows ?? []], text: `${told.text} | ${failed.text}`, code: told.code ?? '' };
  },

  /** Ranks run their blocks in different orders. */
  async disorder(group: ProcessGroup, input: FsdpInput): Promise<FsdpResult> {
    const run = await setUp(group, input);
    if (group.rank === 1) (run.module.h as unknown as unknown[]).reverse();
    return caught(() => run.fabric.backward(run.model, () => run.model.forward(stackBatch(run.shape, 0))));
  },
};

async function caught(fn: () => Promise<unknown>): Promise<FsdpResult> {
  try {
    await fn();
    return { text: 'nothing was thrown' };
  } catch (error) {
    return { text: (error as Error).message, code: (error as { code?: string }).code ?? '' };
  }
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'fsdp-'));
}

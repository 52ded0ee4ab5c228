/** Several ranks in one thread, each with a Fabric of its own, over a group whose collectives meet in promises. */
import { inWorld, type TaskGroup } from '../checkpoints/world.testing.ts';
import type { CollectiveArray, ReduceOp, Work } from '../distributed/process-group.ts';
import { SingleProcessGroup } from '../distributed/single-process-group.ts';
import { SingleDeviceStrategy } from '../strategies/single-device.ts';
import type { StrategyContext } from '../strategies/strategy.ts';
import { Fabric } from './fabric.ts';
import type { FabricOptions } from './options.ts';

/** Collectives of arrays by those of objects. */
export class ArrayTaskGroup extends SingleProcessGroup {
  override readonly name = 'tasks';
  override readonly rank: number;
  override readonly worldSize: number;
  readonly aborted: string[] = [];
  closed = 0;
  readonly #tasks: TaskGroup;

  constructor(tasks: TaskGroup) {
    super();
    this.#tasks = tasks;
    this.rank = tasks.rank;
    this.worldSize = tasks.worldSize;
  }

  override allReduce(data: CollectiveArray, op: ReduceOp): Work {
    const reducers: Record<ReduceOp, (a: number, b: number) => number> = {
      sum: (a, b) => a + b,
      mean: (a, b) => a + b / this.worldSize,
      max: (a, b) => Math.max(a, b),
      min: (a, b) => Math.min(a, b),
      product: (a, b) => a * b,
    };
    const start = { sum: 0, mean: 0, max: -Infinity, min: Infinity, product: 1 }[op];
    return this.#exchange(data, (all) => {
      for (let i = 0; i < data.length; i++) data[i] = all.map((each) => each[i] as number).reduce(reducers[op], start);
    });
  }

  override allGather(input: CollectiveArray, output: CollectiveArray): Work {
    return this.#exchange(input, (all) => {
      let offset = 0;
      for (const each of all) {
        output.set(each, offset);
        offset += each.length;
      }
    });
  }

  override broadcast(data: CollectiveArray, source: number): Work {
    return this.#exchange(data, (all) => data.set(all[source] as CollectiveArray));
  }

  override barrier(name?: string): Work {
    return this.#tasks.barrier(name);
  }

  override async broadcastObject<T>(value: T, source: number): Promise<T> {
    return this.#tasks.broadcastObject(value, source);
  }

  override async allGatherObject<T>(value: T): Promise<T[]> {
    return this.#tasks.allGatherObject(value);
  }

  override async gatherObject<T>(value: T, destination: number): Promise<T[]> {
    return this.#tasks.gatherObject(value, destination);
  }

  override abort(reason: string): void {
    this.aborted.push(reason);
  }

  override async close(): Promise<void> {
    this.closed++;
  }

  #exchange(own: CollectiveArray, use: (all: readonly CollectiveArray[]) => void): Work {
    const done = this.#tasks.allGatherObject(own).then(use);
    const waitSync = () => {
      throw new Error('tasks of one thread cannot block');
    };
    return { isDone: false, waitSync, then: (...handlers) => done.then(...handlers) };
  }
}

/** A strategy for several ranks that leaves gradients as they are. */
export class ApartStrategy extends SingleDeviceStrategy {
  override readonly name: string = 'apart';

  override setup(context: StrategyContext): void {
    super.setup({ ...context, processGroup: new SingleProcessGroup() });
  }
}

/** Runs `task` on each rank, with a launched Fabric. */
export async function onRanks<T>(
  worldSize: number,
  task: (fabric: Fabric, group: ArrayTaskGroup) => Promise<T>,
  options: () => FabricOptions = () => ({}),
): Promise<PromiseSettledResult<T>[]> {
  return inWorld(worldSize, async (tasks) => {
    const group = new ArrayTaskGroup(tasks);
    const fabric = new Fabric({
      accelerator: 'cpu',
      strategy: new ApartStrategy(),
      ...options(),
      plugins: [group],
    });
    await fabric.launch();
    try {
      return await task(fabric, group);
    } finally {
      await fabric.close();
    }
  });
}

/** As `onRanks`, where no rank may fail. */
export async function onAllOf<T>(
  worldSize: number,
  task: (fabric: Fabric, group: ArrayTaskGroup) => Promise<T>,
  options?: () => FabricOptions,
): Promise<T[]> {
  return (await onRanks(worldSize, task, options)).map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}

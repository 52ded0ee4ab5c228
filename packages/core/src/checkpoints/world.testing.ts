/** For tests: several ranks in one thread, as tasks that meet in promises. Of the collectives only those of objects, and barriers. */
import { SingleProcessGroup } from '../distributed/single-process-group.ts';
import type { Work } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';

/** Runs `task` once for each rank and gives what became of each. A rank whose task has ended is lost to the others, as a process is. */
export async function inWorld<T>(
  worldSize: number,
  task: (group: TaskGroup) => Promise<T>,
): Promise<PromiseSettledResult<T>[]> {
  const world = new World(worldSize);
  return Promise.allSettled(
    Array.from({ length: worldSize }, async (_, rank) => {
      try {
        return await task(new TaskGroup(world, rank));
      } finally {
        world.leave(rank);
      }
    }),
  );
}

/** As `inWorld`, where no rank may fail. */
export async function allInWorld<T>(worldSize: number, task: (group: TaskGroup) => Promise<T>): Promise<T[]> {
  return (await inWorld(worldSize, task)).map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}

/** The messages of ranks that have all failed. */
export function failures(outcomes: readonly PromiseSettledResult<unknown>[]): TensorloomError[] {
  return outcomes.map((outcome, rank) => {
    if (outcome.status === 'fulfilled') throw new Error(`rank ${rank} did not fail`);
    return outcome.reason as TensorloomError;
  });
}

class Meeting {
  readonly values = new Map<number, unknown>();
  readonly done: Promise<readonly unknown[]>;
  resolve!: (values: readonly unknown[]) => void;
  reject!: (error: unknown) => void;

  constructor(readonly call: string) {
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.done.catch(() => {});
  }
}

class World {
  readonly #meetings: Meeting[] = [];
  readonly #gone = new Set<number>();

  constructor(readonly worldSize: number) {}

  /** The `index`-th call of each rank is one meeting. */
  meet(index: number, call: string, rank: number, value: unknown): Promise<readonly unknown[]> {
    const meeting = (this.#meetings[index] ??= new Meeting(call));
    if (meeting.call !== call)
      meeting.reject(new TensorloomError('COLLECTIVE_MISMATCH', `rank ${rank}: ${call}, others: ${meeting.call}`));
    meeting.values.set(rank, structuredClone(value));
    if (meeting.values.size === this.worldSize)
      meeting.resolve(Array.from({ length: this.worldSize }, (_, of) => meeting.values.get(of)));
    this.#rejectLost();
    return meeting.done;
  }

  leave(rank: number): void {
    this.#gone.add(rank);
    this.#rejectLost();
  }

  #rejectLost(): void {
    for (const meeting of this.#meetings)
      for (const rank of this.#gone)
        if (!meeting.values.has(rank)) meeting.reject(new TensorloomError('RANK_LOST', `rank ${rank} is gone`));
  }
}

export class TaskGroup extends SingleProcessGroup {
  override readonly name = 'tasks';
  override readonly worldSize: number;
  override readonly globalRanks: readonly number[];
  readonly #world: World;
  #calls = 0;

  constructor(
    world: World,
    override readonly rank: number,
  ) {
    super();
    this.#world = world;
    this.worldSize = world.worldSize;
    this.globalRanks = Array.from({ length: world.worldSize }, (_, of) => of);
  }

  /** How many collectives this rank has called. */
  get calls(): number {
    return this.#calls;
  }

  override async allGatherObject<T>(value: T): Promise<T[]> {
    return [...(await this.#meet('allGatherObject', value))] as T[];
  }

  override async broadcastObject<T>(value: T, source: number): Promise<T> {
    return (await this.#meet(`broadcastObject from ${source}`, value))[source] as T;
  }

  override async gatherObject<T>(value: T, destination: number): Promise<T[]> {
    const all = await this.#meet(`gatherObject to ${destination}`, value);
    return (this.rank === destination ? [...all] : null) as T[];
  }

  override barrier(name = ''): Work {
    const done = this.#meet(`barrier ${name}`, null).then(() => {});
    const waitSync = () => {
      throw new Error('tasks of one thread cannot block');
    };
    return { isDone: false, waitSync, then: (...handlers) => done.then(...handlers) };
  }

  #meet(call: string, value: unknown): Promise<readonly unknown[]> {
    return this.#world.meet(this.#calls++, call, this.rank, value);
  }
}

/** The process group of one rank: every collective is the identity. */
import { TensorloomError } from '../errors.ts';
import type { CollectiveArray, ProcessGroup, ReduceOp } from './process-group.ts';

/** One rank alone. After `abort` or `close` every call is an error. */
export class SingleProcessGroup implements ProcessGroup {
  readonly rank: number = 0;
  readonly worldSize: number = 1;
  #ended: string | undefined;

  async allReduce(_data: CollectiveArray, _op: ReduceOp): Promise<void> {
    this.#check();
  }

  async allGather<T extends CollectiveArray>(data: T): Promise<T> {
    this.#check();
    return data.slice() as T;
  }

  async broadcast(_data: CollectiveArray, source: number): Promise<void> {
    this.#check(source);
  }

  async broadcastObject<T>(value: T, source: number): Promise<T> {
    this.#check(source);
    return value;
  }

  async allGatherObject<T>(value: T): Promise<T[]> {
    this.#check();
    return [value];
  }

  async barrier(name?: string): Promise<void> {
    this.#check(0, name === undefined ? '' : ` (barrier '${name}')`);
  }

  abort(reason: string): void {
    this.#ended = `it was aborted: ${reason}`;
  }

  async close(): Promise<void> {
    this.#ended ??= 'it is closed';
  }

  #check(source = 0, where = ''): void {
    if (this.#ended !== undefined)
      throw new TensorloomError('MISUSE', `The process group cannot be used: ${this.#ended}${where}.`);
    if (source !== 0) throw new TensorloomError('BAD_OPTION', `There is no rank ${source}: the world has 1 rank.`);
  }
}

/** The process group of one rank: every collective is the identity. */
import { TensorloomError } from '../errors.ts';
import {
  failedWork,
  finishedWork,
  viewOf,
  bytesPerElement,
  elementTypeOf,
  type ArrayOf,
  type CollectiveArray,
  type ElementType,
  type ProcessGroup,
  type ReduceOp,
  type Work,
} from './process-group.ts';

/** One rank alone. After `abort` or `close` every call is an error. */
export class SingleProcessGroup implements ProcessGroup {
  readonly name: string = 'single';
  readonly rank: number = 0;
  readonly worldSize: number = 1;
  readonly globalRanks: readonly number[] = [0];
  readonly #mail: { readonly tag: number; readonly data: CollectiveArray }[] = [];
  #ended: string | undefined;

  allocate<E extends ElementType>(type: E, length: number): ArrayOf[E] {
    return viewOf(type, new ArrayBuffer(length * bytesPerElement(type)), 0, length);
  }

  allReduce(_data: CollectiveArray, _op: ReduceOp): Work {
    return this.#done();
  }

  reduceScatter(input: CollectiveArray, output: CollectiveArray, _op: ReduceOp): Work {
    return this.#copy(input, output);
  }

  allGather(input: CollectiveArray, output: CollectiveArray): Work {
    return this.#copy(input, output);
  }

  broadcast(_data: CollectiveArray, source: number): Work {
    return this.#done(source);
  }

  gather(input: CollectiveArray, output: CollectiveArray | null, destination: number): Work {
    return destination === 0 ? this.#copy(input, output) : this.#done(destination);
  }

  scatter(input: CollectiveArray | null, output: CollectiveArray, source: number): Work {
    return source === 0 ? this.#copy(input, output) : this.#done(source);
  }

  allToAll(input: CollectiveArray, output: CollectiveArray): Work {
    return this.#copy(input, output);
  }

  send(data: CollectiveArray, destination: number, tag = 0): Work {
    this.#mail.push({ tag, data: viewOf(elementTypeOf(data), data.slice().buffer, 0, data.length) });
    return this.#done(destination);
  }

  receive(data: CollectiveArray, source: number, tag = 0): Work {
    const index = this.#mail.findIndex((letter) => letter.tag === tag);
    if (index < 0)
      return failedWork(
        new TensorloomError('MISUSE', `receive: rank 0 waits for itself, and nothing with tag ${tag} was sent.`),
      );
    const [letter] = this.#mail.splice(index, 1);
    return source === 0 ? this.#copy((letter as { readonly data: CollectiveArray }).data, data) : this.#done(source);
  }

  barrier(name?: string): Work {
    return this.#done(0, name === undefined ? '' : ` (barrier '${name}')`);
  }

  async broadcastObject<T>(value: T, source: number): Promise<T> {
    await this.#done(source);
    return value;
  }

  async allGatherObject<T>(value: T): Promise<T[]> {
    await this.#done();
    return [value];
  }

  async gatherObject<T>(value: T, destination: number): Promise<T[]> {
    await this.#done(destination);
    return [value];
  }

  async split(ranks: readonly number[]): Promise<ProcessGroup | null> {
    await this.#done(ranks.find((rank) => rank !== 0) ?? 0);
    return ranks.length === 0 ? null : new SingleProcessGroup();
  }

  abort(reason: string): void {
    this.#ended ??= `it was aborted: ${reason}`;
  }

  async close(): Promise<void> {
    this.#ended ??= 'it is closed';
  }

  #copy(from: CollectiveArray | null, to: CollectiveArray | null): Work {
    if (from === null || to === null || from.length !== to.length)
      return failedWork(
        new TensorloomError(
          'BAD_OPTION',
          `A collective of one rank copies its input: it has ${from?.length ?? 'no'} elements, the output ${to?.length ?? 'none'}.`,
        ),
      );
    to.set(from);
    return this.#done();
  }

  #done(rank = 0, where = ''): Work {
    if (this.#ended !== undefined)
      return failedWork(new TensorloomError('MISUSE', `The process group cannot be used: ${this.#ended}${where}.`));
    if (rank !== 0)
      return failedWork(new TensorloomError('BAD_OPTION', `There is no rank ${rank}: the world has 1 rank.`));
    return finishedWork();
  }
}

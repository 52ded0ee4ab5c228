/** What Fabric offers around the loop: seeds, placement, initialization, collectives, logs, callbacks. */
import { callHook } from '../callbacks/callback.ts';
import type { ClusterEnvironment } from '../distributed/cluster-environment.ts';
import type { ReduceOp } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import { toDevice, type OnDevice } from '../host-tensor.ts';
import { PendingLogs } from '../loggers/pending-logs.ts';
import { withActivationStorage } from '../precision/activation-storage.ts';
import { seedEverything, withoutRandomFilling } from '../random.ts';
import { tf, type Tensor } from '../tensors.ts';
import { allGather, allReduce, broadcast, type Gathered, type Reducible } from './collectives.ts';
import { FabricRuntime } from './fabric-runtime.ts';

export class FabricServices extends FabricRuntime {
  readonly #logs = new PendingLogs();

  /**
   * Seeds every generator that Fabric's own pieces draw from. Ranks draw different numbers (rank zero those of a single
   * process); loader workers find the seed in `TENSORLOOM_SEED`. Returns the seed: the one given, else that of `TENSORLOOM_SEED`, else, for
   * several ranks, one made of the job's id (so that all have the same), else a drawn one.
   */
  seedEverything(seed?: number): number {
    const { environment, worldSize, rank } = this.connections.world;
    const isOpen = seed === undefined && process.env['TENSORLOOM_SEED'] === undefined && worldSize > 1;
    return seedEverything(isOpen ? seedOfJob(environment) : seed, rank);
  }

  /** Copies every HostTensor of a nested collection to the device; the tensors are the caller's to dispose. */
  toDevice<T>(value: T): OnDevice<T> {
    this.assertLaunched('toDevice');
    return toDevice(value);
  }

  /** Runs the synchronous `fn` under the precision, for code outside a module's forward. */
  autocast<T>(fn: () => T): T {
    this.assertLaunched('autocast');
    return this.precision.autocast(this.accelerator, fn);
  }

  /** Reduces numbers, tensors and nested collections of them over all ranks; tensors come back as new ones. */
  async allReduce<T extends Reducible>(value: T, op: ReduceOp = 'mean'): Promise<T> {
    this.assertLaunched('allReduce');
    return allReduce(this.processGroup, value, op);
  }

  /** Each rank's value: numbers as lists by rank, tensors [...] as [worldSize, ...]. */
  async allGather<T extends Reducible>(value: T): Promise<Gathered<T>> {
    this.assertLaunched('allGather');
    return allGather(this.processGroup, value);
  }

  /** The value of rank `source`, on every rank: JSON-like, with tensors and typed arrays anywhere in it. @throws TensorloomError `MISUSE` for anything else */
  async broadcast<T>(value: T, source = 0): Promise<T> {
    this.assertLaunched('broadcast');
    return broadcast(this.processGroup, value, source);
  }

  /** Whether `flag` is true on any rank: the same answer on all of them, so that they stop, save or skip together. */
  async anyRank(flag: boolean): Promise<boolean> {
    this.assertLaunched('anyRank');
    if (this.worldSize === 1) return flag;
    const flags = Uint8Array.of(flag ? 1 : 0);
    await this.processGroup.allReduce(flags, 'max');
    return flags[0] === 1;
  }

  /** Waits for all ranks. @param name for the message if it fails */
  async barrier(name?: string): Promise<void> {
    this.assertLaunched('barrier');
    await this.processGroup.barrier(name);
  }

  /** Runs `fn` on rank zero first (with `local`, on the first rank of each node), then on the others: downloads, caches. */
  async rankZeroFirst<T>(fn: () => Promise<T> | T, options: { readonly local?: boolean } = {}): Promise<T> {
    this.assertLaunched('rankZeroFirst');
    const isFirst = (options.local === true ? this.localRank : this.globalRank) === 0;
    if (!isFirst) await this.processGroup.barrier();
    try {
      return await fn();
    } finally {
      if (isFirst) await this.processGroup.barrier();
    }
  }

  /** Writes to stdout, on rank zero only. */
  print(...values: readonly unknown[]): void {
    if (this.isGlobalZero) console.log(...values);
  }

  /** Calls `hook` on every callback that has it, in order, awaiting each. */
  async call(hook: string, ...context: readonly unknown[]): Promise<void> {
    await callHook(this.callbacks, hook, context);
  }

  /** One scalar to every logger, on rank zero. See `logDict`. */
  log(name: string, value: number | Tensor, step?: number): void {
    this.logDict({ [name]: value }, step);
  }

  /**
   * Scalars to every logger, on rank zero; does not wait for those that are asynchronous.
   * @param step default: optimizer steps taken
   * @throws TensorloomError `IO` naming a logger whose earlier log failed (`step` and `flushLogs` tell of that as well); `MISUSE` for a
   *   tensor of several elements
   */
  logDict(metrics: Readonly<Record<string, number | Tensor>>, step: number = this.defaultStep()): void {
    if (!this.isGlobalZero || this.loggers.length === 0) return;
    this.throwLogFailure();
    const numbers = Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, scalar(name, value)]));
    for (const logger of this.loggers) this.#logs.send(logger, numbers, step);
  }

  /**
   * Settles when all that was logged is in its place. Call it at the end of a run.
   * @throws TensorloomError `IO` naming a logger that failed
   */
  async flushLogs(): Promise<void> {
    await this.#logs.flush(this.loggers);
    this.throwLogFailure();
  }

  protected throwLogFailure(): void {
    this.#logs.throwFailure();
  }

  /** Makes a module's parameters in the precision's storage; with `emptyInit` without drawing random values, for when a checkpoint follows. */
  initModule<T>(fn: () => T, options: { readonly emptyInit?: boolean } = {}): T {
    this.assertLaunched('initModule');
    const make = (): T => withActivationStorage(this.accelerator, this.precision.parameterStorage, fn);
    return options.emptyInit === true ? withoutRandomFilling(make) : make();
  }

  /** Makes tensors in the precision's storage. */
  initTensor<T>(fn: () => T): T {
    this.assertLaunched('initTensor');
    return withActivationStorage(this.accelerator, this.precision.parameterStorage, fn);
  }

  /**
   * Makes a module of which ranks will hold shards. Strategies of several ranks take rank zero's values, so only there random ones are
   * drawn. Each rank has the whole until `setup` shards it; with one rank, as `initModule`.
   */
  shardedModel<T>(fn: () => T): T {
    return this.initModule(fn, { emptyInit: !this.isGlobalZero });
  }

  protected defaultStep(): number {
    return 0;
  }
}

/** FNV-1a of what only the ranks of one job have in common. */
function seedOfJob({ jobId, mainAddress, mainPort }: ClusterEnvironment): number {
  let hash = 0x811c9dc5;
  for (const character of `${jobId} ${mainAddress} ${mainPort}`)
    hash = Math.imul(hash ^ (character.codePointAt(0) as number), 0x01000193);
  return hash >>> 1;
}

function scalar(name: string, value: number | Tensor): number {
  if (typeof value === 'number') return value;
  if (value instanceof tf.Tensor && value.size === 1) return value.dataSync()[0] as number;
  throw new TensorloomError('MISUSE', `log: '${name}' is not a number or a tensor with one element.`);
}

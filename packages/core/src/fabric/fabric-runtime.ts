/** The part of Fabric that is not about models: launch, who and where this rank is, collectives, logs, callbacks. */
import type { Accelerator } from '../accelerators/accelerator.ts';
import { selectAccelerator, type AcceleratorSelection } from '../accelerators/select.ts';
import { callHook } from '../callbacks/callback.ts';
import type { ProcessGroup, ReduceOp } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import { toDevice, type OnDevice } from '../host-tensor.ts';
import type { Logger } from '../loggers/logger.ts';
import type { Precision } from '../precision/precision.ts';
import { checkPair, describePairs, storagesOf } from '../precision/select.ts';
import { seedEverything } from '../random.ts';
import type { Strategy } from '../strategies/strategy.ts';
import { tf, type Tensor } from '../tensors.ts';
import { allGather, allReduce, broadcast, type Gathered, type Reducible } from './collectives.ts';
import { connect, type Connections } from './connect.ts';
import { resolveOptions, type FabricOptions, type ResolvedOptions } from './options.ts';

export class FabricRuntime {
  protected readonly options: ResolvedOptions;
  protected readonly connections: Connections;
  #selection: AcceleratorSelection | undefined;
  #launching: Promise<void> | undefined;

  /** @throws TensorloomError `BAD_OPTION`, `UNKNOWN_NAME`, `CONFLICTING_OPTIONS`, `UNSUPPORTED`, each before any work starts */
  constructor(options: FabricOptions = {}) {
    this.options = resolveOptions(options, process.env);
    this.connections = connect(this.options);
  }

  /**
   * Selects and activates the accelerator and connects the strategy; a second call does no harm. With `fn`, runs it afterwards and returns its result.
   * @throws TensorloomError `UNSUPPORTED` if the accelerator cannot be used or cannot do the precision, listing the pairs that exist
   */
  async launch(): Promise<void>;
  async launch<T>(fn: (fabric: this) => Promise<T> | T): Promise<T>;
  async launch<T>(fn?: (fabric: this) => Promise<T> | T): Promise<T | void> {
    this.#launching ??= this.#start();
    try {
      await this.#launching;
    } catch (error) {
      this.#launching = undefined;
      throw error;
    }
    return fn?.(this);
  }

  async #start(): Promise<void> {
    const { precision, strategy, processGroup, deviceIndex } = this.connections;
    const selection = await this.#select();
    checkPair(selection.accelerator, precision);
    await selection.accelerator.activate({
      deviceIndex,
      ...(this.options.threads === undefined ? {} : { threads: this.options.threads }),
    });
    strategy.setup({ accelerator: selection.accelerator, precision, processGroup });
    this.#selection = selection;
  }

  async #select(): Promise<AcceleratorSelection> {
    const { accelerator, precision } = this.connections;
    try {
      return await selectAccelerator(accelerator, storagesOf(precision));
    } catch (error) {
      if (accelerator !== 'auto' || !(error instanceof TensorloomError)) throw error;
      throw new TensorloomError(error.code, `Precision '${precision.name}': ${error.message}\n${describePairs()}`, {
        cause: error,
      });
    }
  }

  get isLaunched(): boolean {
    return this.#selection !== undefined;
  }

  /** What runs, whether `auto` chose it, and what it passed over. */
  get selection(): AcceleratorSelection {
    return this.#selection ?? this.#notLaunched('selection');
  }

  get accelerator(): Accelerator {
    return this.selection.accelerator;
  }

  get precision(): Precision {
    return this.connections.precision;
  }

  get strategy(): Strategy {
    return this.connections.strategy;
  }

  protected get processGroup(): ProcessGroup {
    return this.connections.processGroup;
  }

  /** `tensorflow:0` */
  get device(): string {
    return `${this.accelerator.name}:${this.connections.deviceIndex}`;
  }

  get globalRank(): number {
    return this.processGroup.rank;
  }

  get localRank(): number {
    return this.connections.environment.localRank;
  }

  get nodeRank(): number {
    return this.connections.environment.nodeRank;
  }

  get worldSize(): number {
    return this.processGroup.worldSize;
  }

  get isGlobalZero(): boolean {
    return this.globalRank === 0;
  }

  get loggers(): readonly Logger[] {
    return this.options.loggers;
  }

  /** The first of `loggers`, if any. */
  get logger(): Logger | undefined {
    return this.options.loggers[0];
  }

  get callbacks(): readonly object[] {
    return this.options.callbacks;
  }

  /**
   * Seeds every generator that Fabric's own pieces draw from. Ranks draw different numbers (rank zero those of a single
   * process); loader workers find the seed in `TENSORLOOM_SEED`. Returns the seed.
   */
  seedEverything(seed?: number): number {
    return seedEverything(seed, this.globalRank);
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

  /** The value of rank `source`, on every rank: JSON-like, with tensors anywhere in it. */
  async broadcast<T>(value: T, source = 0): Promise<T> {
    this.assertLaunched('broadcast');
    return broadcast(this.processGroup, value, source);
  }

  /** Waits for all ranks. @param _name for logs of hanging ranks */
  async barrier(_name?: string): Promise<void> {
    this.assertLaunched('barrier');
    return this.processGroup.barrier();
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

  /** One scalar to every logger, on rank zero. */
  log(name: string, value: number | Tensor, step?: number): void {
    this.logDict({ [name]: value }, step);
  }

  /** Scalars to every logger, on rank zero. @param step default: optimizer steps taken */
  logDict(metrics: Readonly<Record<string, number | Tensor>>, step: number = this.defaultStep()): void {
    if (!this.isGlobalZero || this.loggers.length === 0) return;
    const numbers = Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, scalar(name, value)]));
    for (const logger of this.loggers) void logger.logMetrics(numbers, step);
  }

  /** @throws TensorloomError `NOT_LAUNCHED` */
  protected assertLaunched(call: string): void {
    if (!this.isLaunched) this.#notLaunched(call);
  }

  protected defaultStep(): number {
    return 0;
  }

  #notLaunched(call: string): never {
    throw new TensorloomError(
      'NOT_LAUNCHED',
      `fabric.${call} needs a launched Fabric; call \`await fabric.launch()\` first.`,
    );
  }
}

function scalar(name: string, value: number | Tensor): number {
  if (typeof value === 'number') return value;
  if (value instanceof tf.Tensor && value.size === 1) return value.dataSync()[0] as number;
  throw new TensorloomError('MISUSE', `log: '${name}' is not a number or a tensor with one element.`);
}

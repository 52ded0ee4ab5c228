/** The ground Fabric stands on: options, launch, and who and where this rank is. */
import { setTimeout } from 'node:timers/promises';
import type { Accelerator } from '../accelerators/accelerator.ts';
import { selectAccelerator, type AcceleratorSelection } from '../accelerators/select.ts';
import type { LaunchRequest } from '../distributed/launcher.ts';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import type { Logger } from '../loggers/logger.ts';
import type { Precision } from '../precision/precision.ts';
import { checkPair, describePairs, storagesOf } from '../precision/select.ts';
import type { Strategy } from '../strategies/strategy.ts';
import { connect, type Connections } from './connect.ts';
import { chooseDevice, isForSeveral } from './devices.ts';
import { bindToProcess, isConsequence, lastWord, lingerMs, releaseFromProcess } from './group-lifetime.ts';
import { meetRanks, startRanks } from './join-ranks.ts';
import { checkCompiler } from './set-up-blocks.ts';
import { resolveOptions, type FabricOptions, type ResolvedOptions } from './options.ts';
import { countOf } from './world.ts';

export class FabricRuntime {
  protected readonly options: ResolvedOptions;
  protected readonly connections: Connections;
  #selection: AcceleratorSelection | undefined;
  #launching: Promise<void> | undefined;
  #processGroup: ProcessGroup | undefined;
  #closing: Promise<void> | undefined;
  #deviceIndex: number | undefined;

  /** @throws TensorloomError `BAD_OPTION`, `UNKNOWN_NAME`, `CONFLICTING_OPTIONS`, `UNSUPPORTED`, each before any work starts */
  constructor(options: FabricOptions = {}) {
    this.options = resolveOptions(options, process.env);
    this.connections = connect(this.options, process.env);
  }

  /**
   * Joins the other ranks (started alone with several devices: starts them, and ends this process with their exit code), selects and
   * activates the accelerator and connects the strategy; a second call does no harm. With `fn`, runs it afterwards and returns its
   * result; if that call did the launch, it closes Fabric at the end. A script of several ranks that launches without `fn` ends with
   * `await fabric.close()`. If `fn` throws, the other ranks fail too, naming this one.
   * @throws TensorloomError `UNSUPPORTED` if the accelerator cannot be used or cannot do the precision, listing the pairs that exist,
   *   or if ranks cannot be started; `RANK_LOST`, `TIMEOUT`, `ABORTED` if they do not come; `MISUSE` after `close`
   */
  async launch(): Promise<void>;
  async launch<T>(fn: (fabric: this) => Promise<T> | T): Promise<T>;
  async launch<T>(fn?: (fabric: this) => Promise<T> | T): Promise<T | void> {
    if (this.#closing !== undefined)
      throw new TensorloomError('MISUSE', 'fabric.launch: this Fabric is closed; make a new one.');
    const isFirst = this.#launching === undefined;
    this.#launching ??= this.#start();
    try {
      await this.#launching;
    } catch (error) {
      this.#launching = undefined;
      throw error;
    }
    if (fn === undefined) return;
    const result = await this.abortingOnFailure(() => fn(this));
    if (isFirst) await this.close();
    return result;
  }

  /** Makes every collective of every rank, pending and later, fail with `reason`. One rank alone, or before `launch`: nothing to end. */
  abort(reason: string): void {
    this.#processGroup?.abort(reason);
  }

  /** Leaves the other ranks in good order, after pending collectives. A second call does no harm. */
  async close(): Promise<void> {
    const group = this.#processGroup;
    if (group === undefined) return;
    releaseFromProcess(group);
    this.#closing ??= group.close();
    return this.#closing;
  }

  /** Lets the other ranks fail too when `fn` does: they would wait for this one. */
  protected async abortingOnFailure<T>(fn: () => Promise<T> | T): Promise<T> {
    try {
      return await fn();
    } catch (error) {
      await this.#abortFor(error);
      throw error;
    }
  }

  async #abortFor(error: unknown): Promise<void> {
    const group = this.#processGroup;
    if (group === undefined || group.worldSize === 1) return;
    releaseFromProcess(group);
    group.abort(lastWord(group, error));
    // The failure is what is told; an aborted group has nothing to add.
    this.#closing ??= group.close().catch(() => {});
    // The error may end this process.
    const lingering = setTimeout(lingerMs(error));
    await (isConsequence(error) ? lingering : Promise.race([this.#closing, lingering]));
  }

  async #start(): Promise<void> {
    const { precision, strategy, world } = this.connections;
    if (world.mustStartRanks) await startRanks(this.#launchRequest(countOf(this.options.devices)));
    let selection = world.asManyAsDevices ? await this.#select() : undefined;
    const devices = selection?.accelerator.deviceCount() ?? 1;
    if (devices > 1 && isForSeveral(this.options.strategy)) await startRanks(this.#launchRequest(devices));
    const processGroup = this.connections.processGroup ?? (await meetRanks(world, this.options));
    this.#processGroup = processGroup;
    if (processGroup.worldSize > 1) bindToProcess(processGroup);
    await this.abortingOnFailure(async () => {
      selection ??= await this.#select();
      checkPair(selection.accelerator, precision);
      if (this.options.compile) checkCompiler(selection.accelerator);
      this.#deviceIndex = chooseDevice(selection.accelerator, this.options.devices, world.environment.localRank);
      await selection.accelerator.activate({ deviceIndex: this.#deviceIndex, ...this.#threads });
      strategy.setup({ accelerator: selection.accelerator, precision, processGroup });
      if (this.isGlobalZero) for (const logger of this.loggers) await logger.open?.();
      this.#selection = selection;
    });
  }

  #launchRequest(devices: number): LaunchRequest {
    const indices = this.options.devices;
    return {
      devices,
      numNodes: this.options.numNodes ?? 1,
      ...this.#threads,
      ...(typeof indices === 'object' ? { deviceIndices: indices } : {}),
    };
  }

  get #threads(): { readonly threads?: number } {
    return this.options.threads === undefined ? {} : { threads: this.options.threads };
  }

  async #select(): Promise<AcceleratorSelection> {
    const { accelerator, precision } = this.connections;
    try {
      return await selectAccelerator(accelerator, storagesOf(precision), this.#threads);
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

  /** How the ranks talk, by the name of their process group: `shm`. @throws TensorloomError `NOT_LAUNCHED` */
  get processGroupName(): string {
    return this.processGroup.name;
  }

  protected get processGroup(): ProcessGroup {
    return this.#processGroup ?? this.#notLaunched('processGroup');
  }

  /** `tensorflow:0` */
  get device(): string {
    return `${this.accelerator.name}:${this.#deviceIndex ?? this.#notLaunched('device')}`;
  }

  get globalRank(): number {
    return this.connections.world.rank;
  }

  get localRank(): number {
    return this.connections.world.environment.localRank;
  }

  get nodeRank(): number {
    return this.connections.world.environment.nodeRank;
  }

  get worldSize(): number {
    return this.connections.world.worldSize;
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

  /** @throws TensorloomError `NOT_LAUNCHED` */
  protected assertLaunched(call: string): void {
    if (!this.isLaunched) this.#notLaunched(call);
  }

  #notLaunched(call: string): never {
    throw new TensorloomError(
      'NOT_LAUNCHED',
      `fabric.${call} needs a launched Fabric; call \`await fabric.launch()\` first.`,
    );
  }
}

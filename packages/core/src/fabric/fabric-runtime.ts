/** The ground Fabric stands on: options, launch, and who and where this rank is. */
import type { Accelerator } from '../accelerators/accelerator.ts';
import { selectAccelerator, type AcceleratorSelection } from '../accelerators/select.ts';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import type { Logger } from '../loggers/logger.ts';
import type { Precision } from '../precision/precision.ts';
import { checkPair, describePairs, storagesOf } from '../precision/select.ts';
import type { Strategy } from '../strategies/strategy.ts';
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
    const deviceCount = selection.accelerator.deviceCount();
    if (typeof this.options.devices === 'object' && deviceIndex >= deviceCount)
      throw new TensorloomError(
        'UNSUPPORTED',
        `Fabric: device ${deviceIndex} is asked for (devices: [${this.options.devices.join(', ')}]), but accelerator '${selection.accelerator.name}' sees ${deviceCount} (from 0).`,
      );
    await selection.accelerator.activate({ deviceIndex, ...this.#threads });
    strategy.setup({ accelerator: selection.accelerator, precision, processGroup });
    this.#selection = selection;
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

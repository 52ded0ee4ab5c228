/** What a piece of hardware, with the tfjs backend that drives it, must tell Fabric. One file each beside this one. */
import type { BlockProgram, CompiledBlock } from '../modules/block-program.ts';
import type { MemoryKind } from '../memory-label.ts';
import { Registry } from '../registry.ts';

/** Bytes in use. */
export interface MemoryUsage {
  readonly currentBytes: number;
  /** The most since the accelerator was activated. */
  readonly peakBytes: number;
}

/** What live tensors take. Tables in host memory (`Parameter.hostData`) and the moments of their rows are none, unless the backend's tensors lie there. */
export interface MemoryStatistics {
  /** Bytes held by live tensors. */
  readonly currentBytes: number;
  /** Live tensors. */
  readonly tensorCount: number;
  /** The most bytes since the accelerator was activated; absent where it does not count. */
  readonly peakBytes?: number;
  /** By what the memory is for (`tensor`: all that nobody labelled, activations above all); absent where it does not count. */
  readonly byKind?: Readonly<Record<MemoryKind | 'tensor' | 'scratch', MemoryUsage>>;
}

/** Storage types that an accelerator can give to float tensors. Values are always float32 to tfjs. */
export type FloatStorage = 'float16' | 'bfloat16' | 'float32' | 'float64';

/** Hardware together with the tfjs backend that drives it. */
export interface Accelerator {
  readonly name: string;
  /** Storage types it can compute with; a precision that needs another one is refused at start. */
  readonly storages: readonly FloatStorage[];
  /**
   * `null` where it can be used, else why not and what would make it usable (printed by `tensorloom doctor`).
   * @param options.threads as for `activate`: an accelerator that must load a library to find out may have to tell it then
   */
  unavailable(options?: { readonly threads?: number }): Promise<string | null>;
  /** Number of devices it sees on this machine. */
  deviceCount(): number;
  /** Makes it the active tfjs backend. `threads` is a wish; accelerators that cannot choose ignore none silently: they report what they use in `describe`. */
  activate(options: { readonly deviceIndex: number; readonly threads?: number }): Promise<void>;
  /** Human-readable device and library versions, e.g. `libtensorflow 2.12.1, CPU, 2 threads`. */
  describe(): string;
  memory(): MemoryStatistics;
  /** From here on new float activations are stored as `storage`; `null` restores float32. Present where `storages` has halves. */
  setActivationStorage?(storage: FloatStorage | null): void;
  /**
   * The block as one operation; absent where the accelerator has no compiler.
   * @throws TensorloomError `UNSUPPORTED` for a block that it cannot compile
   */
  compileBlock?(program: BlockProgram): CompiledBlock;
}

/** Higher `priority` is preferred by `auto`. */
export interface AcceleratorEntry {
  readonly priority: number;
  create(): Accelerator;
}

/** Accelerators by name; register your own here, before Fabric is made. */
export const accelerators = new Registry<AcceleratorEntry>('accelerator');

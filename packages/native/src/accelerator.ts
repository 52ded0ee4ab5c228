/** The accelerator `native`: this CPU by the Rust engine. Preferred by `auto` wherever it is built. */
import { availableParallelism } from 'node:os';
import {
  accelerators,
  tf,
  TensorloomError,
  type Accelerator,
  type BlockProgram,
  type CompiledBlock,
  type FloatStorage,
  type MemoryStatistics,
} from '@tensorloom/core';
import { addon, findAddon, memoryKinds } from './addon.ts';
import { compileBlock } from './compile/compiled-block.ts';
import { backendName, registerNativeBackend, setActivationStorage, startEngine } from './backend.ts';

/** All cores of this CPU, with fused kernels in the widest vector instructions it has. */
export class NativeAccelerator implements Accelerator {
  readonly name = backendName;
  readonly storages: readonly FloatStorage[] = ['float32', 'float16', 'bfloat16'];
  #failure: string | null | undefined;

  /** Loads the addon; `null` if that worked. */
  async unavailable(): Promise<string | null> {
    if (this.#failure === undefined) this.#failure = load();
    return this.#failure;
  }

  deviceCount(): number {
    return 1;
  }

  /** @throws TensorloomError `UNSUPPORTED` if the addon is missing or `TENSORLOOM_SIMD` names what this CPU has not */
  async activate({ threads = availableParallelism() }: { readonly threads?: number }): Promise<void> {
    const failure = await this.unavailable();
    if (failure !== null) throw new TensorloomError('UNSUPPORTED', `Accelerator 'native' cannot be used: ${failure}`);
    try {
      startEngine(threads);
    } catch (error) {
      throw new TensorloomError('UNSUPPORTED', `Accelerator 'native' cannot be used: ${(error as Error).message}`);
    }
    registerNativeBackend();
    if (!(await tf.setBackend(backendName)))
      throw new TensorloomError('UNSUPPORTED', "tfjs could not activate the backend 'native'.");
  }

  describe(): string {
    return `tensorloom-engine ${addon().describe()}`;
  }

  memory(): MemoryStatistics {
    const { total, buffers, byKind } = addon().memoryUsage();
    const kinds = Object.entries(memoryKinds).map(([kind, code]) => [kind, byKind[code]]);
    return {
      ...total,
      tensorCount: buffers,
      byKind: Object.fromEntries(kinds) as Required<MemoryStatistics>['byKind'],
    };
  }

  setActivationStorage(storage: FloatStorage | null): void {
    setActivationStorage(storage);
  }

  compileBlock(program: BlockProgram): CompiledBlock {
    return compileBlock(program);
  }
}

function load(): string | null {
  if (findAddon() === null)
    return 'its addon is not built. It is made by cargo: install Rust (https://rustup.rs), then run `npx nx build native`.';
  try {
    addon();
    return null;
  } catch (error) {
    if (error instanceof TensorloomError) return error.message;
    return `its addon cannot be loaded (${(error as Error).message.split('\n')[0]}). Build it anew: \`npx nx build native\`.`;
  }
}

accelerators.register(backendName, { priority: 100, create: () => new NativeAccelerator() });

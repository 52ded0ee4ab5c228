/** The shared memory that calls lie in: each piece is sent to the communication thread once, with a number, and forgotten with its last use here. */
import type { CollectiveArray } from '@tensorloom/core/distributed';
import { allocateKernelMemory, type KernelMemory } from '../simd/kernel-memory.ts';
import type { SharedPiece, ToThread } from './protocol.ts';

export class SharedBuffers {
  readonly #ids = new WeakMap<SharedArrayBuffer, number>();
  /** Of buffers that were made here. The thread reads into their reserve, so no other may get them as such. */
  readonly #memories = new WeakMap<SharedArrayBuffer, KernelMemory>();
  readonly #tell: (message: ToThread) => void;
  readonly #gone: FinalizationRegistry<number>;
  #next = 1;

  constructor(tell: (message: ToThread) => void) {
    this.#tell = tell;
    this.#gone = new FinalizationRegistry((id) => {
      tell({ type: 'forget', id });
    });
  }

  /** At least so many bytes of zeros; what is beyond is not the caller's. Large ones can be reduced into without a copy. */
  allocate(bytes: number): SharedArrayBuffer {
    const memory = allocateKernelMemory(bytes);
    if (memory === null) return new SharedArrayBuffer(bytes);
    this.#memories.set(memory.buffer, memory);
    return memory.buffer;
  }

  pieceOf(data: CollectiveArray): SharedPiece {
    const memory = data.buffer as SharedArrayBuffer;
    let id = this.#ids.get(memory);
    if (id === undefined) {
      id = this.#next++;
      this.#ids.set(memory, id);
      this.#gone.register(memory, id);
      this.#tell({ type: 'buffer', id, memory: this.#memories.get(memory) ?? memory });
    }
    return { buffer: id, byteOffset: data.byteOffset, length: data.length };
  }
}

/** Numbers for the shared memory that calls lie in: each is sent to the communication thread once, and forgotten with its last use here. */
import type { CollectiveArray } from '@tensorloom/core/distributed';
import type { SharedPiece, ToThread } from './protocol.ts';

export class SharedBuffers {
  readonly #ids = new WeakMap<SharedArrayBuffer, number>();
  readonly #tell: (message: ToThread) => void;
  readonly #gone: FinalizationRegistry<number>;
  #next = 1;

  constructor(tell: (message: ToThread) => void) {
    this.#tell = tell;
    this.#gone = new FinalizationRegistry((id) => {
      tell({ type: 'forget', id });
    });
  }

  pieceOf(data: CollectiveArray): SharedPiece {
    const memory = data.buffer as SharedArrayBuffer;
    let id = this.#ids.get(memory);
    if (id === undefined) {
      id = this.#next++;
      this.#ids.set(memory, id);
      this.#gone.register(memory, id);
      this.#tell({ type: 'buffer', id, memory });
    }
    return { buffer: id, byteOffset: data.byteOffset, length: data.length };
  }
}

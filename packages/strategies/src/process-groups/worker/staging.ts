/** Shared memory for arrays that lie elsewhere: pieces of powers of two, kept for the next time. */

const SMALLEST = 1024;

export class StagingPool {
  readonly #free = new Map<number, SharedArrayBuffer[]>();
  readonly #keptBytes: number;
  readonly #allocate: (bytes: number) => SharedArrayBuffer;
  #freeBytes = 0;

  /**
   * @param keptBytes how much to keep at most while it is not used
   * @param allocate gives so many bytes or more, but less than twice as many
   */
  constructor(
    keptBytes = 256 * 1024 * 1024,
    allocate: (bytes: number) => SharedArrayBuffer = (bytes) => new SharedArrayBuffer(bytes),
  ) {
    this.#keptBytes = keptBytes;
    this.#allocate = allocate;
  }

  take(bytes: number): SharedArrayBuffer {
    const size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(Math.max(1, bytes))));
    const kept = this.#free.get(size)?.pop();
    if (kept === undefined) return this.#allocate(size);
    this.#freeBytes -= size;
    return kept;
  }

  give(memory: SharedArrayBuffer): void {
    const size = 2 ** Math.floor(Math.log2(memory.byteLength));
    if (this.#freeBytes + size > this.#keptBytes) return;
    this.#freeBytes += size;
    const list = this.#free.get(size);
    if (list === undefined) this.#free.set(size, [memory]);
    else list.push(memory);
  }
}

/** Waiting for non-blocking MPI calls without holding up the thread's other messages. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MpiLibrary } from './mpi-library.ts';

/** Tests between two looks at the clock and at the other ranks' notices. */
const TESTS_PER_LOOK = 32;

/** Requests that MPI may still write for, and so memory that must not be collected, even if nobody waits any more. */
const unfinished = new Set<MpiRequest>();

/** One request of MPI, and the memory that it uses. */
export class MpiRequest {
  readonly handle = new BigUint64Array(1);
  readonly #flag = new Int32Array(1);
  #done = false;

  constructor(
    private readonly mpi: MpiLibrary,
    readonly memory: readonly unknown[] = [],
  ) {
    unfinished.add(this);
  }

  /** Whether it is finished; also lets MPI get on with its work. */
  test(): boolean {
    if (this.#done) return true;
    this.mpi.call('Test', this.handle, this.#flag, null);
    this.#done = this.#flag[0] !== 0;
    if (this.#done) unfinished.delete(this);
    return this.#done;
  }
}

/** Of `waitFor`. */
export interface WaitOptions {
  /** Called now and then; throws to give up. */
  readonly look: () => void;
  /** Sleep between tests, ever longer up to a millisecond: for ranks that may come late and must not be slowed down by our asking. */
  readonly patient: boolean;
}

const sleepCell = new Int32Array(new SharedArrayBuffer(4));

/** Until `isDone`. @throws what `look` throws */
export async function waitFor(isDone: () => boolean, { look, patient }: WaitOptions): Promise<void> {
  const start = performance.now();
  for (;;) {
    for (let i = 0; i < TESTS_PER_LOOK; i++) if (isDone()) return;
    look();
    // Messages to this thread, an abort among them, come between turns.
    await nextTurn();
    const waitedMs = performance.now() - start;
    if (patient && waitedMs > 0.5) Atomics.wait(sleepCell, 0, 0, Math.min(1, waitedMs / 20));
  }
}

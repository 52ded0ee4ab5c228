/** Ends this process when a blocking MPI call does not: nothing else can, and nobody else would be told. */
import { Worker } from 'node:worker_threads';
import type { CollectiveName } from './mpi-library.ts';

const NAMES: readonly CollectiveName[] = [
  'Allreduce',
  'Reduce_scatter',
  'Allgather',
  'Allgatherv',
  'Bcast',
  'Gatherv',
  'Scatterv',
  'Alltoallv',
];

/**
 * Watches this thread's MPI calls from a thread of its own. All ranks have come when such a call begins, so that one that takes
 * longer than `timeoutMs` waits for a rank that has stopped. It cannot be interrupted, and a process whose thread is in it
 * cannot exit: the watchdog says so on standard error and kills the process, whereupon mpirun ends the others.
 */
export class Watchdog {
  /** How many calls have begun and ended, odd while one is under way, and which one that is. */
  readonly #words = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;

  /** @param rank for the message */
  constructor(rank: number, timeoutMs: number) {
    const workerData = { words: this.#words, rank, timeoutMs, names: NAMES };
    this.#worker = new Worker(WATCH, { eval: true, execArgv: [], workerData });
    this.#worker.unref();
  }

  /** Runs `call`, which blocks. */
  watch(name: CollectiveName, call: () => void): void {
    Atomics.store(this.#words, 1, NAMES.indexOf(name));
    Atomics.add(this.#words, 0, 1);
    try {
      call();
    } finally {
      Atomics.add(this.#words, 0, 1);
    }
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

const WATCH = `
const { writeSync } = require('node:fs');
const { words, rank, timeoutMs, names } = require('node:worker_threads').workerData;
let seen = 0;
let since = performance.now();
setInterval(() => {
  const now = Atomics.load(words, 0);
  if (now !== seen || now % 2 === 0) {
    seen = now;
    since = performance.now();
  } else if (performance.now() - since > timeoutMs) {
    writeSync(2, 'tensorloom: MPI_' + names[words[1]] + ' of rank ' + rank + ' did not end within ' + timeoutMs / 1000 +
      ' s: another rank has stopped in the middle of it, or cannot be reached. This process ends.\\n');
    process.kill(process.pid, 'SIGKILL');
  }
}, Math.min(1000, Math.max(10, timeoutMs / 4)));
`;

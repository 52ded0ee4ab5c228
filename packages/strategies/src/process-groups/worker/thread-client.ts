/** The main thread's end of the communication thread: numbers requests, waits for them, keeps their errors. */
import { MessageChannel, receiveMessageOnPort, type MessagePort, type Worker } from 'node:worker_threads';
import { TensorloomError } from '@tensorloom/core/distributed';
import type { TransportRequest } from '../transport.ts';
import {
  CONTROL,
  revivedError,
  type FromThread,
  type Medium,
  type ThreadData,
  type ToThread,
  type TracedCall,
} from './protocol.ts';
import { startThread } from './start-thread.ts';

/** One request under way. */
export interface Pending {
  readonly sequence: number;
  /** Once, when it has ended and before anybody hears of it: brings results where they belong. */
  readonly finish: (error: Error | undefined) => void;
}

// How often a blocked main thread looks whether the communication thread is still there.
const SLICE_MS = 1000;

export class ThreadClient {
  /** Of the transport: `shm`, `shm+ws`, … */
  readonly medium: string;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #words: Int32Array;
  readonly #pending: Pending[] = [];
  readonly #errors = new Map<number, Error>();
  readonly #traces: ((calls: readonly TracedCall[]) => void)[] = [];
  readonly #waiters: { readonly sequence: number; readonly resolve: () => void }[] = [];
  #errorsTaken = 0;
  #sequence = 0;
  #isPumping = false;
  #lost: Error | undefined;
  #isClosing = false;
  readonly #exited: Promise<void>;

  private constructor(worker: Worker, port: MessagePort, words: Int32Array, medium: string) {
    this.#worker = worker;
    this.#port = port;
    this.#words = words;
    this.medium = medium;
    port.on('message', (message: FromThread) => {
      this.#take(message);
    });
    port.unref();
    worker.on('error', (error) => {
      this.#lose(`failed: ${error.message}`, error);
    });
    this.#exited = new Promise<void>((resolve) => {
      worker.once('exit', (code) => {
        this.settle();
        // While closing, only what it has not done is amiss: it was stopped because it took too long.
        if (!this.#isClosing || this.#pending.length > 0) this.#lose(`ended with code ${code}`);
        this.settle();
        resolve();
      });
    });
    // An idle thread keeps no process alive.
    worker.unref();
  }

  /** Starts a thread, and returns when it has met the other ranks. @throws what the transport's factory throws */
  static async start(medium: Medium, request: TransportRequest, trace: boolean): Promise<ThreadClient> {
    const control = new SharedArrayBuffer(CONTROL.words * 4);
    const { port1: port, port2 } = new MessageChannel();
    const workerData: ThreadData = { medium, request, control, trace, port: port2 };
    const entry = import.meta.url.endsWith('.ts') ? './communication-thread.ts' : './communication-thread.js';
    const worker = startThread(new URL(entry, import.meta.url), {
      workerData,
      transferList: [port2],
      name: `tensorloom ${medium}`,
    });
    const name = await new Promise<string>((resolve, reject) => {
      port.once('message', (message: FromThread) => {
        if (message.type === 'ready') resolve(message.name);
        else if (message.type === 'refused') reject(revivedError(message.error));
      });
      worker.once('error', reject);
      worker.once('exit', (code) => {
        reject(new Error(`The communication thread ended with code ${code} before it had met the other ranks.`));
      });
    });
    worker.removeAllListeners();
    return new ThreadClient(worker, port, new Int32Array(control), name);
  }

  /** @returns its number */
  request(message: ToThread, finish: Pending['finish'] = () => {}): number {
    const sequence = ++this.#sequence;
    this.#pending.push({ sequence, finish });
    if (this.#lost === undefined) this.#port.postMessage(message);
    return sequence;
  }

  /** What needs no answer. */
  tell(message: ToThread): void {
    if (this.#lost === undefined && !this.#isClosing) this.#port.postMessage(message);
  }

  isDone(sequence: number): boolean {
    this.settle();
    return this.#isSettled(sequence);
  }

  /** Blocks until the request has ended. @throws its error */
  waitSync(sequence: number): void {
    for (;;) {
      const completed = Atomics.load(this.#words, CONTROL.completed);
      this.settle();
      if (this.#isSettled(sequence)) return this.#raise(sequence);
      Atomics.wait(this.#words, CONTROL.completed, completed, SLICE_MS);
    }
  }

  /** @throws the request's error */
  async wait(sequence: number): Promise<void> {
    this.settle();
    if (!this.#isSettled(sequence))
      await new Promise<void>((resolve) => {
        this.#waiters.push({ sequence, resolve });
        void this.#pump();
      });
    this.#raise(sequence);
  }

  /** All finished collectives since the last time. */
  async trace(): Promise<readonly TracedCall[]> {
    this.#worker.ref();
    const calls = await new Promise<readonly TracedCall[]>((resolve) => {
      this.#traces.push(resolve);
      this.#port.postMessage({ type: 'trace' } satisfies ToThread);
    });
    if (!this.#isPumping) this.#worker.unref();
    return calls;
  }

  /** Closes the world's group, which ends the thread. */
  async close(patienceMs: number): Promise<void> {
    if (this.#isClosing) return this.#exited;
    const sequence = this.request({ type: 'close', group: '' });
    this.#isClosing = true;
    const timer = setTimeout(() => void this.#worker.terminate(), patienceMs);
    try {
      await this.wait(sequence);
    } finally {
      this.#worker.ref();
      await this.#exited;
      clearTimeout(timer);
    }
  }

  /** Ends what has ended: in order, each once. */
  settle(): void {
    // A thread that has gone may have finished things before: those count.
    if (Atomics.load(this.#words, CONTROL.ended) === 1 && !this.#isClosing && this.#lost === undefined)
      this.#lose('ended unexpectedly');
    const completed = Atomics.load(this.#words, CONTROL.completed);
    this.#takeErrors();
    for (let next = this.#pending[0]; next !== undefined; next = this.#pending[0]) {
      const isCompleted = ((completed - next.sequence) | 0) >= 0;
      if (!isCompleted && this.#lost === undefined) return;
      this.#pending.shift();
      if (!isCompleted) this.#errors.set(next.sequence, this.#lost as Error);
      next.finish(this.#errors.get(next.sequence));
    }
  }

  #isSettled(sequence: number): boolean {
    const first = this.#pending[0];
    return first === undefined || first.sequence > sequence;
  }

  #raise(sequence: number): void {
    const error = this.#errors.get(sequence);
    if (error !== undefined) throw error;
  }

  /** One loop wakes all that wait, and keeps the process alive meanwhile. */
  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    this.#worker.ref();
    try {
      for (;;) {
        const completed = Atomics.load(this.#words, CONTROL.completed);
        this.settle();
        const ready = this.#waiters.filter(({ sequence }) => this.#isSettled(sequence));
        for (const waiter of ready) this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        for (const { resolve } of ready) resolve();
        if (this.#waiters.length === 0) return;
        const { async: isAsync, value } = waitAsync(this.#words, CONTROL.completed, completed, SLICE_MS);
        if (isAsync) await value;
      }
    } finally {
      this.#isPumping = false;
      this.#worker.unref();
    }
  }

  #take(message: FromThread): void {
    if (message.type === 'trace') this.#traces.shift()?.(message.calls);
    if (message.type !== 'error') return;
    this.#errorsTaken++;
    this.#errors.set(message.sequence, revivedError(message.error));
  }

  /** Errors are posted before their request counts as completed, so they are all there. */
  #takeErrors(): void {
    while (this.#errorsTaken < Atomics.load(this.#words, CONTROL.errors)) {
      const got = receiveMessageOnPort(this.#port);
      if (got === undefined) return;
      this.#take(got.message as FromThread);
    }
  }

  #lose(what: string, cause?: Error): void {
    this.#lost ??= new TensorloomError(
      'RANK_LOST',
      `This process's communication thread ${what}. Its process groups cannot be used any more.`,
      cause === undefined ? {} : { cause },
    );
    Atomics.store(this.#words, CONTROL.ended, 1);
    Atomics.notify(this.#words, CONTROL.completed);
  }
}

/** Not yet in the types of TypeScript's ES2023. */
const { waitAsync } = Atomics as unknown as {
  readonly waitAsync: (
    words: Int32Array,
    index: number,
    value: number,
    timeoutMs: number,
  ) => { readonly async: boolean; readonly value: Promise<string> | string };
};

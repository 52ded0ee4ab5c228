/** Signs of life of the processes around one segment: their process, and a word that they keep counting up. */
import { readFileSync, readlinkSync } from 'node:fs';
import type { Segment } from '../slots/segment.ts';

/** Int32 words of a rank's `life` line. */
const PID = 0;
const START_LOW = 1;
const START_HIGH = 2;
/** Process ids mean something within one namespace only. */
const NAMESPACE = 3;
const BEAT = 4;

export class Liveness {
  readonly #segment: Segment;
  readonly #rankTimeoutMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #seen = new Map<number, { readonly beat: number; readonly atMs: number; lookedAtMs: number }>();

  constructor(segment: Segment, rankTimeoutMs: number) {
    this.#segment = segment;
    this.#rankTimeoutMs = rankTimeoutMs;
    const start = startOf(process.pid)?.start ?? 0;
    this.#set(PID, process.pid);
    this.#set(START_LOW, start | 0);
    this.#set(START_HIGH, Math.floor(start / 2 ** 32));
    this.#set(NAMESPACE, namespace());
    this.beat();
    this.#timer = setInterval(
      () => {
        this.beat();
      },
      Math.max(20, Math.min(1000, rankTimeoutMs / 10)),
    );
    this.#timer.unref();
  }

  beat(): void {
    Atomics.add(this.#segment.words, this.#index(this.#segment.rank, BEAT), 1);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** What is wrong with a rank, or null. Ask repeatedly: silence is measured from the first time. */
  trouble(rank: number): string | null {
    const pid = this.#get(rank, PID);
    if (pid === 0) return null;
    const isHere = this.#get(rank, NAMESPACE) === namespace();
    if (isHere) {
      const found = startOf(pid);
      const started = (this.#get(rank, START_LOW) >>> 0) + this.#get(rank, START_HIGH) * 2 ** 32;
      if (found === undefined || found.start !== started || found.isGone) return `its process (pid ${pid}) has ended`;
    }
    const beat = this.#get(rank, BEAT);
    const now = performance.now();
    const seen = this.#seen.get(rank);
    // Silence counts only while this process looks: a pause of its own must not be taken for the other's.
    if (seen?.beat !== beat || now - seen.lookedAtMs > this.#rankTimeoutMs / 2)
      this.#seen.set(rank, { beat, atMs: now, lookedAtMs: now });
    else {
      seen.lookedAtMs = now;
      if (now - seen.atMs > this.#rankTimeoutMs)
        return `its process (pid ${pid}) has given no sign of life for ${this.#rankTimeoutMs / 1000} s`;
    }
    return null;
  }

  #index(rank: number, word: number): number {
    return (this.#segment.layout.life(rank) >> 2) + word;
  }

  #set(word: number, value: number): void {
    Atomics.store(this.#segment.words, this.#index(this.#segment.rank, word), value);
  }

  #get(rank: number, word: number): number {
    return Atomics.load(this.#segment.words, this.#index(rank, word));
  }
}

/** When a process was started, in ticks since the machine was, and whether it is only waiting to be reaped; undefined if there is none. */
export function startOf(pid: number): { readonly start: number; readonly isGone: boolean } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { start: Number(fields[19]), isGone: fields[0] === 'Z' || fields[0] === 'X' };
  } catch {
    return undefined;
  }
}

let ownNamespace: number | undefined;

/** Of process ids, as a number. */
export function namespace(): number {
  return (ownNamespace ??= Number(/\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? 0) | 0);
}

/** What a run shows while it works: a bar on a terminal, plain lines elsewhere. Everything goes to standard output. */
import { SingleBar } from 'cli-progress';
import { formatBytes, formatCount, formatDuration } from './format.ts';

/** The figures of a moment of training. */
export interface TrainingFigures {
  readonly epoch: number;
  readonly epochs: number;
  readonly microBatches: number;
  readonly totalMicroBatches: number;
  readonly step: number;
  /** Mean over the items since the last log line. */
  readonly loss: number;
  readonly lr: number;
  readonly tokensPerSecond: number;
  readonly memoryBytes: number;
  readonly secondsLeft: number;
}

export interface Progress {
  /** A line that stays. */
  line(text: string): void;
  /** Called after each micro-batch. */
  training(figures: TrainingFigures): void;
  /** Called every `--log-every` micro-batches. */
  log(figures: TrainingFigures): void;
  /** Work that is counted (texts evaluated or tokenized, bytes downloaded). Call with `done === total` at the end. */
  counting(what: string, done: number, total: number): void;
  /** Takes a bar off the screen. */
  stop(): void;
}

export function createProgress(options: { readonly quiet: boolean; readonly terminal?: boolean }): Progress {
  if (options.quiet) return new SilentProgress();
  return (options.terminal ?? process.stdout.isTTY === true) ? new BarProgress() : new LineProgress();
}

function describe(figures: TrainingFigures): string {
  return [
    `epoch ${figures.epoch + 1}/${figures.epochs}`,
    `micro-batch ${figures.microBatches}/${figures.totalMicroBatches}`,
    `step ${figures.step}`,
    `loss ${figures.loss.toFixed(4)}`,
    `lr ${figures.lr.toPrecision(3)}`,
    `${formatCount(figures.tokensPerSecond)} tokens/s`,
    `memory ${formatBytes(figures.memoryBytes)}`,
    `ETA ${formatDuration(figures.secondsLeft)}`,
  ].join(' | ');
}

class SilentProgress implements Progress {
  line(): void {}
  training(): void {}
  log(): void {}
  counting(): void {}
  stop(): void {}
}

/** Milliseconds between lines of counted work: what is done sooner needs none, and a log stays short. */
const countingIntervalMs = 30_000;

class LineProgress implements Progress {
  #counted = '';
  #lastCounting = 0;

  line(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  training(): void {}

  log(figures: TrainingFigures): void {
    this.line(describe(figures));
  }

  counting(what: string, done: number, total: number): void {
    const now = Date.now();
    if (this.#counted !== what) [this.#counted, this.#lastCounting] = [what, now];
    if (done >= total || now - this.#lastCounting < countingIntervalMs) return;
    this.#lastCounting = now;
    this.line(`${what}: ${formatCount(done)} of ${formatCount(total)}`);
  }

  stop(): void {
    this.#counted = '';
  }
}

class BarProgress implements Progress {
  #bar: SingleBar | undefined;
  #title = '';
  /** The bar hides the cursor: whatever ends the process brings it back. */
  #leaves = false;

  line(text: string): void {
    this.stop();
    process.stdout.write(`${text}\n`);
  }

  training(figures: TrainingFigures): void {
    const title = `epoch ${figures.epoch + 1}/${figures.epochs}`;
    const text = [
      `loss ${figures.loss.toFixed(4)}`,
      `${formatCount(figures.tokensPerSecond)} tokens/s`,
      `ETA ${formatDuration(figures.secondsLeft)}`,
      formatBytes(figures.memoryBytes),
    ].join(' | ');
    this.#show(title, figures.microBatches, figures.totalMicroBatches, text);
  }

  log(): void {}

  counting(what: string, done: number, total: number): void {
    this.#show(what, done, total, '');
    if (done >= total) this.stop();
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #show(title: string, done: number, total: number, text: string): void {
    if (this.#bar !== undefined && this.#title !== title) this.stop();
    if (this.#bar === undefined) {
      this.#title = title;
      this.#bar = new SingleBar({
        format: '{title} [{bar}] {value}/{total} {text}',
        stream: process.stdout,
        clearOnComplete: true,
        hideCursor: true,
        fps: 10,
        barsize: 24,
        // The bar would otherwise take Ctrl-C for itself; signals.ts decides what it does.
        gracefulExit: false,
        // Micro-batches block the event loop, so the bar is drawn when it is told, not by a timer.
        synchronousUpdate: true,
      });
      if (!this.#leaves) process.once('exit', () => this.stop());
      this.#leaves = true;
      this.#bar.start(total, done, { title, text });
    } else this.#bar.update(done, { title, text });
  }
}

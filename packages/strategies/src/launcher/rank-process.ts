/** One rank as a child process: its output, its end, signals to it and to what it started. */
import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { TensorloomError } from '@tensorloom/core/distributed';
import { PrefixedLines } from './prefixed-lines.ts';

/** How a rank ended. */
export interface RankExit {
  readonly rank: number;
  /** As a shell tells it: the exit code, or 128 + the number of the signal. */
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
}

export interface RankProcessOptions {
  readonly rank: number;
  readonly command: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
  /** Before each line of output; null: the rank has this process's own streams. */
  readonly prefix: string | null;
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

/** How long output may still come from what a rank has left behind. */
const LAST_OUTPUT_MS = 2_000;

export class RankProcess {
  readonly rank: number;
  /** Settles when the process has ended and its output is passed on. @throws TensorloomError `BAD_OPTION` if it could not be started */
  readonly ended: Promise<RankExit>;
  readonly #child: ChildProcess;
  #exited = false;

  constructor(options: RankProcessOptions) {
    const { rank, command, variables, prefix } = options;
    this.rank = rank;
    const [program, ...parameters] = command as [string, ...string[]];
    this.#child = spawn(program, parameters, {
      env: variables,
      stdio: prefix === null ? 'inherit' : ['ignore', 'pipe', 'pipe'],
      // A process group of its own: Ctrl-C reaches the ranks through the launcher only, once; and what a rank starts ends with it.
      detached: true,
    });
    const { stdout, stderr } = this.#child;
    const outputs = [
      ...(stdout === null ? [] : [passOn(stdout, new PrefixedLines(prefix ?? '', options.stdout))]),
      ...(stderr === null ? [] : [passOn(stderr, new PrefixedLines(prefix ?? '', options.stderr))]),
    ];
    this.ended = this.#exit(program).then(async (exit) => {
      this.#signalGroup('SIGKILL');
      const late = setTimeout(() => {
        stdout?.destroy();
        stderr?.destroy();
      }, LAST_OUTPUT_MS);
      await Promise.all(outputs);
      clearTimeout(late);
      return exit;
    });
  }

  get hasExited(): boolean {
    return this.#exited;
  }

  /** To the rank and all that it started. */
  signal(name: NodeJS.Signals): void {
    if (!this.#exited) this.#signalGroup(name);
  }

  #signalGroup(name: NodeJS.Signals): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, name);
    } catch (error) {
      // Nothing is left of the group.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  async #exit(program: string): Promise<RankExit> {
    return new Promise((resolve, reject) => {
      this.#child.once('error', (error) => {
        if (this.#child.pid !== undefined) return;
        this.#exited = true;
        reject(
          new TensorloomError('BAD_OPTION', `launch: '${program}' cannot be started: ${error.message}.`, {
            cause: error,
          }),
        );
      });
      this.#child.once('exit', (code, signal) => {
        this.#exited = true;
        resolve({
          rank: this.rank,
          code: signal === null ? (code as number) : 128 + constants.signals[signal],
          signal,
        });
      });
    });
  }
}

/** Until the source ends or is destroyed; the rest of the last line comes too. */
async function passOn(source: Readable, target: PrefixedLines): Promise<void> {
  await new Promise<void>((resolve) => {
    source.once('close', resolve).pipe(target);
  });
  await new Promise<void>((resolve) => target.end(resolve));
}

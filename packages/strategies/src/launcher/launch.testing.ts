/** For the tests: a launcher in a process of its own, and the processes that it should or should not leave behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { LaunchOptions } from './launch-options.ts';

/** Node.js from these sources. */
export const SOURCES = [process.execPath, '--conditions=@tensorloom/source', '--import', 'tsx'];

/** A rank that runs JavaScript; `say` writes at once, also when what follows blocks. */
export function rankRunning(code: string): string[] {
  return [process.execPath, '-e', `const say = (text) => require('node:fs').writeSync(1, text + '\\n'); ${code}`];
}

/** As `rankRunning`, watching its launcher as importing the package does. */
export function watchingRank(code: string): string[] {
  const watch = new URL('./watch-launcher.ts', import.meta.url).href;
  const say = `import { writeSync } from 'node:fs'; const say = (text) => writeSync(1, text + '\\n');`;
  return [...SOURCES, '--input-type=module', '-e', `${say} await import('${watch}'); ${code}`];
}

/** Keeps what is written. */
export class Captured extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }
}

/** `launchRanks` in a process, for what is done to the launcher itself. */
export class LauncherProcess {
  readonly child: ChildProcess;
  /** Exit code or signal. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  output = '';

  /** @param folder for temporary files */
  constructor(options: LaunchOptions, folder: string) {
    const module = new URL('./launch-ranks.ts', import.meta.url).href;
    const code = `const { launchRanks } = await import('${module}'); process.exit(await launchRanks(${JSON.stringify(options)}));`;
    this.child = spawn(process.execPath, [...SOURCES.slice(1), '--input-type=module', '-e', code], {
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      cwd: fileURLToPath(new URL('.', import.meta.url)),
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on('data', (data: Buffer) => {
        this.output += data.toString();
      });
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve(code ?? signal)));
  }

  /** The lines of output that match, once there are `count`. */
  async lines(pattern: RegExp, count: number): Promise<string[]> {
    for (;;) {
      const lines = this.output
        .split('\n')
        .slice(0, -1)
        .filter((line) => pattern.test(line));
      if (lines.length >= count) return lines;
      if (this.child.exitCode !== null)
        throw new Error(`The launcher ended before it said ${String(pattern)}:\n${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The pids that ranks say: `pid 123`. */
  async pids(count: number): Promise<number[]> {
    const lines = await this.lines(/pid \d+$/, count);
    return lines.map((line) => Number(/\d+$/.exec(line)?.[0]));
  }
}

/** Whether a process runs; one that has ended and that nobody has waited for does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    // No /proc, or it has ended in between.
    return process.platform !== 'linux';
  }
}

/** Ends when none of them runs; a test that waits in vain fails by its time limit. */
export async function allEnded(pids: readonly number[]): Promise<void> {
  while (pids.some(isRunning)) await new Promise((resolve) => setTimeout(resolve, 20));
}

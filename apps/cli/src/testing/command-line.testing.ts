/** For tests: runs the command in a process of its own, as a user does, in a temporary folder. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const binary = fileURLToPath(new URL('../../bin/tensorloom', import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  /** What it has printed so far. */
  readonly output: () => string;
}

/** A folder with caches of its own; `dispose` ends what still runs in it and removes it. */
export class Workplace {
  readonly folder = mkdtempSync(join(tmpdir(), 'tensorloom-cli-'));
  readonly #processes = new Set<ChildProcess>();

  readonly binary = binary;

  /** The variables of a command that is run here. */
  get environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      TENSORLOOM_CACHE: this.path('cache'),
      HF_HUB_CACHE: this.path('hub'),
      HF_HUB_OFFLINE: '1',
    };
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  write(name: string, content: string): string {
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  start(
    args: readonly string[],
    options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Running {
    const child = spawn(binary, args, {
      cwd: this.folder,
      env: { ...this.environment, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#processes.add(child);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    const finished = new Promise<Finished>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        this.#processes.delete(child);
        resolve({ code, signal, stdout, stderr });
      });
    });
    return { process: child, finished, output: () => stdout + stderr };
  }

  run(
    args: readonly string[],
    options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<Finished> {
    return this.start(args, options).finished;
  }

  dispose(): void {
    for (const child of this.#processes) child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Short labelled texts whose label follows from their words: `count` lines of jsonl. */
export function labelledLines(count: number, seed = 1): string {
  const words = ['film', 'plot', 'actor', 'scene', 'music', 'ending', 'story', 'phone', 'dinner', 'service'];
  const kinds = { good: ['great', 'lovely', 'superb'], bad: ['awful', 'boring', 'broken'] };
  let state = seed;
  const draw = (n: number): number => (state = (state * 48271) % 2147483647) % n;
  return Array.from({ length: count }, (_, i) => {
    const label = i % 2 === 0 ? 'good' : 'bad';
    const length = 2 + draw(9);
    const text = Array.from({ length }, () => (draw(3) === 0 ? kinds[label][draw(3)] : words[draw(words.length)])).join(
      ' ',
    );
    return JSON.stringify({ text: `${text} ${kinds[label][draw(3)]} ${i}`, label });
  })
    .join('\n')
    .concat('\n');
}

/** Waits until `condition` holds, for at most `timeoutMs`. */
export async function until(condition: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

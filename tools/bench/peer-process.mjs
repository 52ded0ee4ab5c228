/** One side of the bench: a process that answers a JSON line on standard output for each JSON line on its standard input. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export class PeerProcess {
  #child;
  #lines;
  #stderr = '';

  /** @param {string} name for messages @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env */
  constructor(name, command, args, env) {
    this.name = name;
    this.#child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr.on('data', (chunk) => {
      this.#stderr = (this.#stderr + chunk).slice(-8000);
    });
    this.#child.stdin.on('error', () => undefined); // the answer that is missing says more
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The next answer; lines that are not JSON objects (notices of libraries) are passed over. */
  async answer() {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`${this.name} ended without an answer:\n${this.#stderr}`);
      if (value.startsWith('{')) return JSON.parse(value);
    }
  }

  /** Trains on the batches of these indices; gives the seconds it took and each batch's loss. */
  async train(indices) {
    this.#child.stdin.write(`${JSON.stringify({ batches: indices })}\n`);
    return this.answer();
  }

  /** Closes its input, upon which it ends by itself; kills it where it does not within 10 s. */
  async close() {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(timer);
  }
}

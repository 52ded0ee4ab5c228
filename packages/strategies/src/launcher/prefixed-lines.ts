/** Output of several processes on one stream: whole lines, each with its rank. */
import { Writable } from 'node:stream';

/** A line longer than this is cut: a process that never ends its lines must not fill the memory. */
const MAX_LINE_BYTES = 1 << 20;
const NEWLINE = 0x0a;

/** Passes on whole lines with `prefix` before each; what is left at the end becomes a line too. */
export class PrefixedLines extends Writable {
  readonly #prefix: Buffer;
  readonly #target: NodeJS.WritableStream;
  #rest: Buffer = Buffer.alloc(0);

  constructor(prefix: string, target: NodeJS.WritableStream) {
    super();
    this.#prefix = Buffer.from(prefix);
    this.#target = target;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // Bytes, not text: a chunk may end in the middle of a character.
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const lines: Buffer[] = [];
    for (let end = lineEnd(data); end > 0; end = lineEnd(data)) {
      lines.push(this.#prefix, data.subarray(0, end));
      if (data[end - 1] !== NEWLINE) lines.push(Buffer.of(NEWLINE));
      data = data.subarray(end);
    }
    this.#rest = Buffer.from(data);
    this.#pass(lines, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#pass(this.#rest.length === 0 ? [] : [this.#prefix, this.#rest, Buffer.of(NEWLINE)], done);
  }

  /** In one write, so that the lines of other ranks come before or after, and as fast as the target takes them. */
  #pass(lines: readonly Buffer[], done: (error?: Error | null) => void): void {
    if (lines.length === 0) done();
    else this.#target.write(Buffer.concat(lines), (error) => done(error));
  }
}

/** Bytes up to the end of the first line, 0 where it is not whole. */
function lineEnd(data: Buffer): number {
  const end = data.indexOf(NEWLINE) + 1;
  if (end > 0 && end <= MAX_LINE_BYTES) return end;
  return data.length >= MAX_LINE_BYTES ? MAX_LINE_BYTES : end;
}

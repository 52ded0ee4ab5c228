/** Lines of a stream in batches: as many as have come, so that a program on the other end of a pipe gets its answers at once. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setImmediate as eventLoopTurn } from 'node:timers/promises';

/** Yields what lines have come since the last batch, at most `maxLines` of them; waits while there are none. Ends with the stream. */
export async function* linesAsTheyCome(stream: Readable, maxLines: number): AsyncGenerator<string[]> {
  const lines: string[] = [];
  let ended = false;
  let wake = (): void => undefined;
  const reader = createInterface({ input: stream, crlfDelay: Infinity });
  reader.on('line', (line) => {
    lines.push(line);
    if (lines.length >= maxLines) reader.pause();
    wake();
  });
  reader.once('close', () => {
    ended = true;
    wake();
  });
  try {
    for (;;) {
      if (lines.length === 0 && !ended) await new Promise<void>((resolve) => (wake = resolve));
      // The rest of what the stream has in hand comes within this turn.
      await eventLoopTurn();
      if (lines.length > 0) yield lines.splice(0, maxLines);
      else if (ended) return;
      if (lines.length < maxLines && !ended) reader.resume();
    }
  } finally {
    reader.close();
  }
}

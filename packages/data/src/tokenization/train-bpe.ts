/** Runs the BPE trainer of the `tokenizers` library in a process of its own: it blocks for its whole run, and prints to the terminal. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { TensorloomError } from '@tensorloom/core';
import { z } from 'zod';

// Plain JavaScript handed over by value: it runs the same from TypeScript sources and from the built package.
const TRAINER = `
const [library, json, texts, output] = process.argv.slice(1);
const tokenizer = require(library).Tokenizer.fromString(require('node:fs').readFileSync(json, 'utf8'));
tokenizer.train([texts]);
tokenizer.save(output, false);
`;

const savedModel = z.object({
  model: z.object({ vocab: z.record(z.string(), z.number()), merges: z.array(z.tuple([z.string(), z.string()])) }),
});

// What `train` without options stops at.
const LIBRARY_VOCABULARY = 30_000;

/**
 * @param untrained a tokenizer.json whose model has no vocabulary yet
 * @returns the merges, most frequent first, and how many the library can learn here at most
 * @throws TensorloomError `BAD_DATA` if the trainer fails
 */
export async function trainByteLevelBpe(
  untrained: string,
  textFile: string,
  workFile: string,
): Promise<{ merges: [string, string][]; limit: number }> {
  await writeFile(workFile, untrained);
  try {
    const library = createRequire(import.meta.url).resolve('tokenizers');
    await promisify(execFile)(process.execPath, ['-e', TRAINER, library, workFile, textFile, workFile], {
      maxBuffer: 64 << 20,
    });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new TensorloomError('BAD_DATA', `Training the tokenizer failed: ${(stderr ?? '').trim() || message}`, {
      cause: error,
    });
  }
  const { model } = savedModel.parse(JSON.parse(await readFile(workFile, 'utf8')));
  const alphabetSize = Object.keys(model.vocab).filter((token) => Array.from(token).length === 1).length;
  return { merges: model.merges, limit: LIBRARY_VOCABULARY - alphabetSize };
}

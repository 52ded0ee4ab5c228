/** Rows of a JSON Lines file: one object per line, blank lines are passed over. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { badRow, cannotRead, toRow, type FieldNames, type Row } from './rows.ts';
import { reasonOf } from '../files/reason.ts';

/** @throws TensorloomError `BAD_FILE` if the file cannot be read, `BAD_DATA` with file and line for a broken row */
export async function* readJsonl(file: string, fields: FieldNames): AsyncGenerator<Row> {
  const stream = createReadStream(file, 'utf8');
  let failure: Error | undefined;
  stream.on('error', (error) => {
    failure = error;
    lines.close();
  });
  const lines = createInterface({ input: stream, crlfDelay: Infinity });
  let number = 0;
  try {
    for await (const line of lines) {
      number++;
      const json = number === 1 ? line.replace(/^\uFEFF/, '') : line;
      if (json.trim() === '') continue;
      let record: unknown;
      try {
        record = JSON.parse(json);
      } catch (error) {
        throw badRow(
          file,
          number,
          `not JSON (${reasonOf(error)}). Expected one object per line, as {"text": "…", "label": "…"}.`,
          error,
        );
      }
      if (record === null || typeof record !== 'object' || Array.isArray(record))
        throw badRow(file, number, 'not a JSON object. Expected one per line, as {"text": "…", "label": "…"}.');
      yield toRow(record as Record<string, unknown>, fields, file, number);
    }
  } finally {
    lines.close();
    stream.destroy();
  }
  if (failure !== undefined) throw cannotRead(file, failure);
}

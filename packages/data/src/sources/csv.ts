/** Rows of a CSV file with a header line (RFC 4180: quotes, line feeds in quotes); a file named .tsv is separated by tabs. */
import { createReadStream } from 'node:fs';
import { CsvError, parse } from 'csv-parse';
import { badRow, cannotRead, toRow, type FieldNames, type Row } from './rows.ts';

/** @throws TensorloomError `BAD_FILE` if the file cannot be read, `BAD_DATA` with file and line for a broken row */
export async function* readCsv(file: string, fields: FieldNames): AsyncGenerator<Row> {
  const parser = parse({
    bom: true,
    info: true,
    skip_empty_lines: true,
    delimiter: file.toLowerCase().endsWith('.tsv') ? '\t' : ',',
    columns: (header: string[]) => {
      for (const field of [fields.text, fields.label])
        if (!header.includes(field))
          throw badRow(
            file,
            1,
            `no column '${field}' in the header: ${header.join(', ')}. Name the columns of text and label (--text-field and --label-field; textField and labelField in code).`,
          );
      return header;
    },
  });
  const stream = createReadStream(file);
  stream.on('error', (error) => parser.destroy(cannotRead(file, error)));
  stream.pipe(parser);
  try {
    for await (const entry of parser) {
      const { record, info } = entry as { record: Record<string, unknown>; info: { lines: number } };
      yield toRow(record, fields, file, info.lines);
    }
  } catch (error) {
    if (error instanceof CsvError) throw badRow(file, Number(error.lines ?? parser.info.lines), error.message, error);
    throw error;
  } finally {
    stream.destroy();
    parser.destroy();
  }
}

/** Rows of the user's own files: what jsonl and csv have in common. */
import { TensorloomError } from '@tensorloom/core';
import { reasonOf } from '../files/reason.ts';

/** One row, with its place for messages. */
export interface Row {
  readonly text: string;
  /** As written: a class name, or a number for regression. */
  readonly label: string;
  readonly file: string;
  readonly line: number;
}

export interface FieldNames {
  readonly text: string;
  readonly label: string;
}

export type RowReader = (file: string, fields: FieldNames) => AsyncIterable<Row>;

/** @throws TensorloomError `BAD_DATA` with file and line unless the record has a text and a label */
export function toRow(record: Readonly<Record<string, unknown>>, fields: FieldNames, file: string, line: number): Row {
  const text = record[fields.text];
  const label = record[fields.label];
  const have = `It has ${Object.keys(record).join(', ') || 'no fields'}.`;
  if (text === undefined || text === null)
    throw badRow(
      file,
      line,
      `no field '${fields.text}' (the text). ${have} Name the field (--text-field; textField in code).`,
    );
  if (typeof text !== 'string')
    throw badRow(file, line, `the field '${fields.text}' is ${describe(text)}; expected a string.`);
  if (label === undefined || label === null || label === '')
    throw badRow(
      file,
      line,
      `no field '${fields.label}' (the label). ${have} Name the field (--label-field; labelField in code).`,
    );
  if (typeof label !== 'string' && typeof label !== 'number' && typeof label !== 'boolean')
    throw badRow(file, line, `the field '${fields.label}' is ${describe(label)}; expected a string or a number.`);
  return { text, label: String(label), file, line };
}

export function badRow(file: string, line: number, what: string, cause?: unknown): TensorloomError {
  return new TensorloomError('BAD_DATA', `${file}:${line}: ${what}`, cause === undefined ? {} : { cause });
}

export function cannotRead(file: string, error: unknown): TensorloomError {
  return new TensorloomError('BAD_FILE', `Cannot read ${file}: ${reasonOf(error)}`, { cause: error });
}

function describe(value: unknown): string {
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

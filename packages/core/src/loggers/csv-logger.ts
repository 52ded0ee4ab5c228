/** Metrics as `metrics.csv`: one row per step, columns as they come, fit to be continued after a resume. */
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { makeFolders } from '../checkpoints/make-folders.ts';
import { TensorloomError } from '../errors.ts';
import type { JsonObject } from '../stateful.ts';
import type { Logger } from './logger.ts';

/** A folder of its own for each version, or this very folder. */
export type CsvLoggerOptions = {
  /** Rows of an existing file with a later step are dropped: they are about to be written again. */
  readonly resumeAtStep?: number;
  /** Name of the first column (default `step`), for callers that count something else. */
  readonly stepColumn?: string;
} & (
  | {
      /** Logs go to `rootFolder/name/version_N`, N one above those that exist (or as given). */
      readonly rootFolder: string;
      /** Default `logs`. */
      readonly name?: string;
      readonly version?: number;
    }
  | {
      /** Logs go to this very folder. */
      readonly folder: string;
    }
);

const fileName = 'metrics.csv';

/**
 * Writes each row as it is logged; a resumed run goes on with the file. Nothing is touched before `open`, which Fabric calls on rank zero
 * at launch, or the first log: each rank of a job makes a logger, and one of them logs.
 */
export class CsvLogger implements Logger {
  readonly name: string;
  readonly #options: CsvLoggerOptions;
  readonly #stepColumn: string;
  #folder: string | undefined;
  #isOpen = false;
  #columns: string[];
  #lastRow: { step: number; values: Map<string, string>; offset: number } | undefined;
  #bytes = 0;

  constructor(options: CsvLoggerOptions) {
    this.#options = options;
    this.name = 'rootFolder' in options ? (options.name ?? 'logs') : 'csv';
    this.#stepColumn = options.stepColumn ?? 'step';
    this.#columns = [this.#stepColumn];
  }

  /** Where `metrics.csv` and `hyperparameters.json` are. The next version is chosen when it is first asked for. */
  get folder(): string {
    const options = this.#options;
    return (this.#folder ??=
      'rootFolder' in options ? versionFolder(join(options.rootFolder, this.name), options.version) : options.folder);
  }

  get #path(): string {
    return join(this.folder, fileName);
  }

  /** @throws TensorloomError `BAD_FILE` if an existing `metrics.csv` is not one; `IO` if the folder cannot be written */
  open(): void {
    if (this.#isOpen) return;
    try {
      makeFolders(this.folder);
      if (existsSync(this.#path)) this.#continue(this.#options.resumeAtStep ?? Infinity);
      this.#isOpen = true;
    } catch (error) {
      if (error instanceof TensorloomError) throw error;
      throw new TensorloomError(
        'IO',
        `CsvLogger cannot write to ${this.folder}: ${(error as Error).message}. Choose a folder that you can write to.`,
        { cause: error },
      );
    }
  }

  /** Metrics of the step of the last row join it, also after a resume. A new name becomes a new column: the file is then written anew. */
  logMetrics(metrics: Readonly<Record<string, number>>, step: number): void {
    if (this.#stepColumn in metrics)
      throw new TensorloomError(
        'MISUSE',
        `CsvLogger: '${this.#stepColumn}' is the name of its first column; give the step as argument.`,
      );
    this.open();
    const joins = this.#lastRow !== undefined && this.#lastRow.step === step;
    const row =
      joins && this.#lastRow !== undefined
        ? this.#lastRow
        : { step, values: new Map<string, string>(), offset: this.#bytes };
    for (const [name, value] of Object.entries(metrics)) row.values.set(name, String(value));
    const added = Object.keys(metrics).filter((name) => !this.#columns.includes(name));
    if (joins) this.#truncate(row.offset);
    if (added.length > 0) this.#addColumns(added);
    row.offset = this.#bytes;
    this.#append(
      line(
        this.#columns.map((column) => (column === this.#stepColumn ? String(step) : (row.values.get(column) ?? ''))),
      ),
    );
    this.#lastRow = row;
  }

  /** Kept beside the metrics as `hyperparameters.json`. */
  logHyperparameters(parameters: JsonObject): void {
    this.open();
    replaceFile(join(this.folder, 'hyperparameters.json'), `${JSON.stringify(parameters, null, 2)}\n`);
  }

  #continue(resumeAtStep: number): void {
    const [header, ...rows] = parse(readFileSync(this.#path, 'utf8'));
    if (header?.[0] !== this.#stepColumn)
      throw new TensorloomError(
        'BAD_FILE',
        `${this.#path} is not a file of this CsvLogger: its first column is not '${this.#stepColumn}'. Move it away or choose another folder.`,
      );
    this.#columns = header;
    const kept = rows.filter((row) => row.length === header.length && Number(row[0]) <= resumeAtStep);
    this.#rewrite(kept);
    const last = kept.at(-1);
    if (last === undefined) return;
    const values = header.map((column, index) => [column, last[index] as string] as const).slice(1);
    const offset = this.#bytes - Buffer.byteLength(line(last));
    this.#lastRow = { step: Number(last[0]), values: new Map(values), offset };
  }

  #addColumns(names: readonly string[]): void {
    const rows = existsSync(this.#path) ? parse(readFileSync(this.#path, 'utf8')).slice(1) : [];
    this.#columns = [...this.#columns, ...names];
    this.#rewrite(rows.map((row) => [...row, ...names.map(() => '')]));
  }

  #rewrite(rows: readonly string[][]): void {
    const text = [this.#columns, ...rows].map(line).join('');
    replaceFile(this.#path, text);
    this.#bytes = Buffer.byteLength(text);
  }

  #truncate(offset: number): void {
    truncateSync(this.#path, offset);
    this.#bytes = offset;
  }

  #append(text: string): void {
    appendFileSync(this.#path, text);
    this.#bytes += Buffer.byteLength(text);
  }
}

function versionFolder(parent: string, version: number | undefined): string {
  if (version !== undefined) return join(parent, `version_${version}`);
  const taken = existsSync(parent)
    ? readdirSync(parent).map((name) => Number(/^version_(\d+)$/.exec(name)?.[1] ?? -1))
    : [];
  return join(parent, `version_${Math.max(-1, ...taken) + 1}`);
}

function replaceFile(path: string, text: string): void {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    writeFileSync(temporary, text, { flush: true });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function line(cells: readonly string[]): string {
  return `${cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(',')}\n`;
}

/** RFC 4180. A last line without its newline, torn by a crash, is left out. */
function parse(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  const cell = /("(?:[^"]|"")*"|[^",\n]*)(,|\n)/gy;
  for (let match = cell.exec(text); match !== null; match = cell.exec(text)) {
    const raw = match[1] as string;
    row.push(raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw);
    if (match[2] === '\n') {
      rows.push(row);
      row = [];
    }
  }
  return rows;
}

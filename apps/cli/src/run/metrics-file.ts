/** metrics.csv of a run: one row per log window and per evaluation, in columns that are always the same. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { writeFileAtomically } from './run-folder.ts';

/** `micro_batch` counts those done; losses are means over the texts since the row before; accuracies are 0..1. */
export const metricColumns = [
  'micro_batch',
  'step',
  'epoch',
  'loss',
  'lr',
  'train_accuracy',
  'validation_accuracy',
  'tokens',
  'tokens_per_second',
  'memory_bytes',
] as const;
export type MetricColumn = (typeof metricColumns)[number];
export type MetricRow = Readonly<Partial<Record<MetricColumn, number>>>;

export class MetricsFile {
  readonly #path: string;

  /** @param path the file; rows of a run that is resumed are kept up to `microBatches`, later ones come again */
  constructor(path: string, options: { readonly keepUpToMicroBatches: number }) {
    this.#path = path;
    const header = metricColumns.join(',');
    const kept = existsSync(path)
      ? readFileSync(path, 'utf8')
          .split('\n')
          .slice(1)
          .filter((line) => line !== '' && Number(line.split(',')[0]) <= options.keepUpToMicroBatches)
      : [];
    writeFileAtomically(path, `${[header, ...kept].join('\n')}\n`);
  }

  write(row: MetricRow): void {
    appendFileSync(this.#path, `${metricColumns.map((column) => row[column] ?? '').join(',')}\n`);
  }
}

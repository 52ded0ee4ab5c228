/** summary.json and the lines at the end of a run. */
import { writeFileAtomically } from '@tensorloom/core';
import type { EvaluationResult } from '../evaluate.ts';
import { formatAccuracy, formatBytes, formatCount } from './format.ts';
import type { RunFolder } from './run-folder.ts';
import type { TrainingState } from './training-state.ts';
import type { Watermark } from './watermark.ts';

export interface Summary {
  /** 0..1. `train` is the running accuracy of the last epoch (predictions made while training), the others whole parts after it. */
  readonly accuracy: { readonly train: number | null; readonly validation: number; readonly test: number };
  readonly counts: { readonly validation: EvaluationCount; readonly test: EvaluationCount };
  /** Wall-clock seconds of the run over all its parts, evaluation included. */
  readonly elapsedSeconds: number;
  /** The largest of all ranks. */
  readonly peakMemoryBytes: number;
  /** Each rank's, in the last part of a run that was resumed. */
  readonly peakMemoryBytesByRank: readonly number[];
  readonly steps: number;
  readonly microBatches: number;
  readonly epochs: number;
  readonly texts: number;
  readonly tokens: number;
  /** Tokens (no padding) per second of training. */
  readonly tokensPerSecond: number;
  readonly trainingSeconds: number;
  /** Mean training losses of the first and the last log window. */
  readonly loss: { readonly first: number | null; readonly last: number | null };
  readonly validations: TrainingState['validations'];
  readonly parameterCount: number;
  readonly strategy: string;
  readonly accelerator: string;
  readonly precision: string;
  readonly watermark: Watermark;
  readonly config: Readonly<Record<string, unknown>>;
}

interface EvaluationCount {
  readonly correct: number;
  readonly total: number;
}

export function summarize(run: {
  readonly state: TrainingState;
  readonly validation: Omit<EvaluationResult, 'finite'>;
  readonly test: Omit<EvaluationResult, 'finite'>;
  readonly elapsedSeconds: number;
  readonly peakMemoryBytes: number;
  readonly peakMemoryBytesByRank: readonly number[];
  readonly parameterCount: number;
  readonly strategy: string;
  readonly watermark: Watermark;
  readonly config: Readonly<Record<string, unknown>>;
}): Summary {
  const { state, validation, test, watermark } = run;
  return {
    accuracy: { train: state.trainAccuracy, validation: validation.accuracy, test: test.accuracy },
    counts: {
      validation: { correct: validation.correct, total: validation.total },
      test: { correct: test.correct, total: test.total },
    },
    elapsedSeconds: run.elapsedSeconds,
    peakMemoryBytes: run.peakMemoryBytes,
    peakMemoryBytesByRank: run.peakMemoryBytesByRank,
    steps: state.step,
    microBatches: state.microBatches,
    epochs: state.epoch,
    texts: state.items,
    tokens: state.tokens,
    tokensPerSecond: state.tokensPerSecond,
    trainingSeconds: state.trainingSeconds,
    loss: { first: state.firstLoss, last: state.lastLoss },
    validations: state.validations,
    parameterCount: run.parameterCount,
    strategy: run.strategy,
    accelerator: watermark.accelerator,
    precision: watermark.precision,
    watermark,
    config: run.config,
  };
}

export async function writeSummary(folder: RunFolder, summary: Summary): Promise<void> {
  await writeFileAtomically(folder.summary, `${JSON.stringify(summary, null, 2)}\n`);
}

export function formatSummary(summary: Summary, folder: string): string {
  const { accuracy, counts } = summary;
  const ranks = summary.peakMemoryBytesByRank.length;
  const exact = ({ correct, total }: EvaluationCount): string => `(${formatCount(correct)} of ${formatCount(total)})`;
  const rows: [string, string][] = [
    ['train accuracy', `${accuracy.train === null ? 'none' : formatAccuracy(accuracy.train)} (running, last epoch)`],
    ['validation accuracy', `${formatAccuracy(accuracy.validation)} ${exact(counts.validation)}`],
    ['test accuracy', `${formatAccuracy(accuracy.test)} ${exact(counts.test)}`],
    ['elapsed', `${(summary.elapsedSeconds / 60).toFixed(2)} min`],
    ['peak memory', formatBytes(summary.peakMemoryBytes) + (ranks === 1 ? '' : ` (largest of ${ranks} ranks)`)],
    ['steps', `${formatCount(summary.steps)} of ${formatCount(summary.microBatches)} micro-batches`],
    ['speed', `${formatCount(summary.tokensPerSecond)} tokens/s`],
    ['run folder', folder],
  ];
  return rows.map(([name, value]) => `${name.padEnd(19)} : ${value}`).join('\n');
}

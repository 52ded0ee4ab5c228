/**
 * The three runs of "Finetuning LLMs on a single GPU using gradient accumulation" (Raschka, 2023): BLOOM-560m on IMDB with
 * Adam 5e-5, one epoch, texts cut to 1,024 tokens, seed 123, mixed 16-bit precision, micro-batches of one review.
 */
import { requireOneOf } from './config/flags.ts';
import type { PartialRunConfig } from './config/schema.ts';

const blog = {
  model: 'bigscience/bloom-560m',
  data: 'imdb',
  split: 'blog',
  maxLength: 1024,
  strategy: 'accumulate',
  precision: '16-mixed',
  microBatchSize: 1,
  optimizer: 'adam',
  lr: 5e-5,
  schedule: 'constant',
  warmupSteps: 0,
  epochs: 1,
  seed: 123,
  logEvery: 300,
} as const satisfies PartialRunConfig;

const presets: Readonly<Record<string, PartialRunConfig>> = {
  'blog-batch-size-1': { ...blog, accumulate: 1 },
  'blog-accumulate': { ...blog, accumulate: 16 },
  'blog-compile': { ...blog, accumulate: 16, compile: true },
};

export const presetNames: readonly string[] = Object.keys(presets);

/** @throws UsageError for an unknown name */
export function presetOptions(name: string): PartialRunConfig {
  requireOneOf('preset', name, presetNames);
  return presets[name] as PartialRunConfig;
}

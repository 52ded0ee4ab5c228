/** Models by name: the published BLOOM sizes and small ones of ours for training from scratch. */
import { UnknownNameError } from '@tensorloom/core';
import { parseBloomConfig, withConfig, type BloomConfig } from './config.ts';

interface PresetEntry {
  /** Contents of a Hugging Face config.json. */
  readonly config: Readonly<Record<string, string | number | boolean | null>>;
  /** Hub id of the published weights, where there are any. */
  readonly hubId?: string;
  readonly summary: string;
}

/** What all published sizes share (config.json of bigscience/bloom-560m and its sisters). */
const published = (hiddenSize: number, numLayers: number, numHeads: number) => ({
  model_type: 'bloom',
  vocab_size: 250880,
  hidden_size: hiddenSize,
  n_layer: numLayers,
  n_head: numHeads,
  layer_norm_epsilon: 1e-5,
  initializer_range: 0.02,
  hidden_dropout: 0,
  attention_dropout: 0,
  apply_residual_connection_post_layernorm: false,
  pad_token_id: 3,
  bos_token_id: 1,
  eos_token_id: 2,
  seq_length: 2048,
});

/** Ours: the vocabulary of the tokenizers that we train (8,192), few and narrow blocks. */
const ours = (hiddenSize: number, numLayers: number, numHeads: number, maxLength: number) => ({
  ...published(hiddenSize, numLayers, numHeads),
  vocab_size: 8192,
  seq_length: maxLength,
});

const entries: Readonly<Record<string, PresetEntry>> = {
  'bloom-tiny': { config: ours(64, 2, 4, 256), summary: 'from scratch: hidden 64, 2 blocks, 4 heads' },
  'bloom-mini': { config: ours(256, 4, 8, 512), summary: 'from scratch: hidden 256, 4 blocks, 8 heads' },
  'bloom-small': { config: ours(512, 8, 8, 512), summary: 'from scratch: hidden 512, 8 blocks, 8 heads' },
  'bloom-560m': {
    config: published(1024, 24, 16),
    hubId: 'bigscience/bloom-560m',
    summary: 'hidden 1024, 24 blocks, 16 heads',
  },
  'bloom-1b1': {
    config: published(1536, 24, 16),
    hubId: 'bigscience/bloom-1b1',
    summary: 'hidden 1536, 24 blocks, 16 heads',
  },
  'bloom-1b7': {
    config: published(2048, 24, 16),
    hubId: 'bigscience/bloom-1b7',
    summary: 'hidden 2048, 24 blocks, 16 heads',
  },
  'bloom-3b': {
    config: published(2560, 30, 32),
    hubId: 'bigscience/bloom-3b',
    summary: 'hidden 2560, 30 blocks, 32 heads',
  },
  'bloom-7b1': {
    config: published(4096, 30, 32),
    hubId: 'bigscience/bloom-7b1',
    summary: 'hidden 4096, 30 blocks, 32 heads',
  },
  bloom: {
    config: published(14336, 70, 112),
    hubId: 'bigscience/bloom',
    summary: 'hidden 14336, 70 blocks, 112 heads (176 billion parameters)',
  },
};

/** Names of all presets, smallest first. */
export const presetNames: readonly string[] = Object.keys(entries);

/** Whether there is a preset of that name. */
export function isPreset(name: string): boolean {
  return Object.hasOwn(entries, name);
}

/** A preset: its configuration, and where its published weights are (a preset without `hubId` is trained from scratch). */
export interface Preset {
  readonly name: string;
  readonly config: BloomConfig;
  readonly hubId?: string;
  readonly summary: string;
}

/**
 * The preset of that name, with `changes` to its configuration (say the vocabulary of the tokenizer at hand).
 * @throws UnknownNameError listing the presets
 */
export function preset(name: string, changes: Partial<BloomConfig> = {}): Preset {
  const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
  if (entry === undefined) throw new UnknownNameError('model preset', name, presetNames);
  const source = `the preset '${name}'`;
  const config = withConfig(parseBloomConfig(entry.config, source), changes, source);
  return { name, config, summary: entry.summary, ...(entry.hubId === undefined ? {} : { hubId: entry.hubId }) };
}

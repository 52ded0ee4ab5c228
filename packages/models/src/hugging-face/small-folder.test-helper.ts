/** For tests: a small model to save and load, and files that other programs might write. */
import { RandomGenerator } from '@tensorloom/core';
import { parseBloomConfig, withConfig } from '../bloom/config.ts';
import type { BloomForSequenceClassification } from '../bloom/sequence-classification.ts';
import { buildModel } from './load.ts';

export const config = parseBloomConfig({
  vocab_size: 40,
  hidden_size: 16,
  n_layer: 2,
  n_head: 4,
  pad_token_id: 3,
  seq_length: 32,
  offset_alibi: 100,
});

export const fresh = (seed = 1, numLabels = 2): BloomForSequenceClassification =>
  buildModel('sequence-classification', withConfig(config, { numLabels }), { random: new RandomGenerator(seed) });

/** Copies of all parameters. */
export function values(model: BloomForSequenceClassification): Record<string, Float32Array> {
  return Object.fromEntries(
    [...model.namedParameters()].map(([name, parameter]) => [name, parameter.value.dataSync<'float32'>().slice()]),
  );
}

/** A safetensors file that stores the upper half of each float32 (bfloat16 by truncation). */
export function bfloat16File(
  tensors: Record<string, Float32Array>,
  shapes: ReadonlyMap<string, readonly number[]>,
): Buffer {
  let offset = 0;
  const header: Record<string, unknown> = {};
  const parts: Buffer[] = [];
  for (const [name, data] of Object.entries(tensors)) {
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    const part = Buffer.alloc(data.length * 2);
    bits.forEach((bit, i) => part.writeUInt16LE(bit >>> 16, i * 2));
    header[name] = { dtype: 'BF16', shape: shapes.get(name), data_offsets: [offset, offset + part.length] };
    offset += part.length;
    parts.push(part);
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...parts]);
}

/** The micro-batches of a model case as the models take them. */
import { HostTensor } from '@tensorloom/core';
import { badCase } from './case-error.ts';
import type { ModelCase } from './model-case.ts';

/** One micro-batch in host memory. */
export interface CaseBatch {
  /** [batch, seq] int32 */
  readonly inputIds: HostTensor;
  /** [batch, seq] int32 */
  readonly attentionMask: HostTensor;
  /** [batch], [batch, labels] or [batch, seq], int32 or float32 */
  readonly labels?: HostTensor;
}

/** @throws TensorloomError `BAD_FILE` naming the tensor with an id or a label out of range */
export function readBatches(read: ModelCase): CaseBatch[] {
  const { tensors, config, batch, seq, microBatches } = read;
  const ids = tensors.readIntegers('inputs/input_ids');
  const outside = ids.find((id) => id < 0 || id >= config.vocabSize);
  if (outside !== undefined)
    throw badCase(tensors.path, 'inputs/input_ids', `id ${outside} is outside the vocabulary of ${config.vocabSize}`);
  const mask = tensors.has('inputs/attention_mask')
    ? tensors.readIntegers('inputs/attention_mask')
    : new Int32Array(ids.length).fill(1);
  if (mask.some((value) => value !== 0 && value !== 1))
    throw badCase(tensors.path, 'inputs/attention_mask', 'expected only 0 and 1');
  const labels = readLabels(read);
  return Array.from({ length: microBatches }, (_, m) => {
    const cut = (data: Int32Array): HostTensor =>
      new HostTensor(data.slice(m * batch * seq, (m + 1) * batch * seq), [batch, seq]);
    return {
      inputIds: cut(ids),
      attentionMask: cut(mask),
      ...(labels === undefined ? {} : { labels: labels[m] as HostTensor }),
    };
  });
}

function readLabels(read: ModelCase): HostTensor[] | undefined {
  const { tensors, head, config, microBatches } = read;
  const name = 'inputs/labels';
  if (!tensors.has(name)) return undefined;
  const { data, shape } = tensors.read(name);
  const perBatch = data.length / microBatches;
  // [micro_batches, …] or, for a single one, without the first axis.
  const own = tensors.shape('inputs/input_ids').length === 3 ? shape.slice(1) : [...shape];
  const problem = config.problemType ?? (config.numLabels === 1 ? 'regression' : undefined);
  const classes = head === 'causal-lm' ? config.vocabSize : config.numLabels;
  const real = head === 'classification' && (problem === 'regression' || problem === 'multi_label_classification');
  if (data instanceof Int32Array && !real) {
    const outside = data.find((label) => label !== -100 && (label < 0 || label >= classes));
    if (outside !== undefined) throw badCase(tensors.path, name, `label ${outside} is none of ${classes}`);
  }
  if (data instanceof Float32Array && head === 'causal-lm')
    throw badCase(tensors.path, name, 'expected token ids (I32 or I64)');
  return Array.from({ length: microBatches }, (_, m) => {
    const part = data.slice(m * perBatch, (m + 1) * perBatch);
    return new HostTensor(real ? Float32Array.from(part) : part, own);
  });
}

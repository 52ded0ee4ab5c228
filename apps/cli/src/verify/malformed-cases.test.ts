import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tf, TensorloomError, type Tensor } from '@tensorloom/core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  BLOOM_CASES,
  copyCases,
  editJson,
  editTensors,
  newFolder,
  removeFolders,
  TRAIN_RUN,
  type CaseJson,
} from './fixtures.testing.ts';
import { closeCases, readReferenceFolder } from './reference-folder.ts';

const tiny = (): string => copyCases(BLOOM_CASES, ['tiny']);

function problemOf(folder: string): string {
  try {
    closeCases(readReferenceFolder(folder));
  } catch (error) {
    if (error instanceof TensorloomError && error.code === 'BAD_FILE') return error.message;
    throw error;
  }
  throw new Error('the folder was read without a complaint');
}

beforeAll(() => tf.setBackend('cpu'));
afterEach(removeFolders);

describe('a malformed case names the file and the key', () => {
  it.each<[string, (json: CaseJson) => unknown, RegExp]>([
    ['no config', (json) => ({ ...json, config: undefined }), /tiny\.json: config: /],
    [
      'a config that does not fit together',
      (json) => ({ ...json, config: { ...json['config'], n_head: 5 } }),
      /tiny\.json: config.*n_head 5/s,
    ],
    [
      'a config of another size than the weights',
      (json) => ({ ...json, config: { ...json['config'], n_layer: 3 } }),
      /weights\/transformer\.h\.2\.[a-z_.]+: missing/,
    ],
    [
      'a learning rate that is text',
      (json) => ({ ...json, optimizers: { adam: { lr: 'fast' } } }),
      /tiny\.json: optimizers\.adam\.lr/,
    ],
    [
      'an unknown hyper-parameter',
      (json) => ({ ...json, optimizers: { ...json['optimizers'], adam: { lr: 1e-3, amsgrad: true } } }),
      /optimizers\.adam\.amsgrad: true would change the result/,
    ],
    [
      'a weight decay of another kind',
      (json) => ({
        ...json,
        optimizers: { ...json['optimizers'], adam: { lr: 1e-3, weight_decay: 0.1, decoupled_weight_decay: true } },
      }),
      /optimizers\.adam\.decoupled_weight_decay: true would change/,
    ],
    [
      'a hyper-parameter of another algorithm',
      (json) => ({ ...json, optimizers: { ...json['optimizers'], adam: { lr: 1e-3, momentum: 0.9 } } }),
      /optimizers\.adam\.momentum/,
    ],
    [
      'a tag that is no algorithm',
      (json) => ({ ...json, optimizers: { ...json['optimizers'], clip: { lr: 1e-3 } } }),
      /optimizers\.clip\.optimizer/,
    ],
    [
      'an algorithm that does not exist',
      (json) => ({ ...json, optimizers: { ...json['optimizers'], clip: { optimizer: 'lion', lr: 1 } } }),
      /optimizers\.clip\.optimizer/,
    ],
    [
      'tensors of a run that is not described',
      (json) => ({ ...json, optimizers: { adam: { lr: 1e-3 } } }),
      /tiny\.json: optimizers\.accumulate/,
    ],
    [
      'losses that make no whole steps',
      (json) => ({ ...json, scalars: { accumulate_losses: [1, 2, 3] } }),
      /scalars\.accumulate_losses/,
    ],
    [
      'more steps than there are micro-batches',
      (json) => ({ ...json, scalars: { adam_losses: Array(9).fill(1) } }),
      /optimizers\.adam: 9 steps/,
    ],
    ['another sequence length than the inputs', (json) => ({ ...json, seq: 20 }), /tiny\.json: seq: says 20/],
  ])('%s', (_, edit, message) => {
    const folder = tiny();
    editJson(join(folder, 'tiny.json'), edit);
    expect(problemOf(folder)).toMatch(message);
  });

  it.each<[string, (tensors: Map<string, Tensor>) => void, RegExp]>([
    [
      'a missing weight',
      (tensors) => tensors.delete('weights/transformer.ln_f.bias'),
      /tiny\.safetensors: weights\/transformer\.ln_f\.bias: missing/,
    ],
    [
      'an unknown weight',
      (tensors) => tensors.set('weights/transformer.extra', tf.zeros([2])),
      /weights\/transformer\.extra: not part of the model/,
    ],
    [
      'no weights',
      (tensors) => [...tensors.keys()].forEach((name) => name.startsWith('weights/') && tensors.delete(name)),
      /weights\//,
    ],
    [
      'no inputs',
      (tensors) => tensors.delete('inputs/input_ids'),
      /tiny\.safetensors: inputs\/input_ids: no such tensor/,
    ],
    [
      'a mask of another shape',
      (tensors) => tensors.set('inputs/attention_mask', tf.ones([8, 3, 18], 'int32')),
      /inputs\/attention_mask/,
    ],
    ['labels of another shape', (tensors) => tensors.set('inputs/labels', tf.ones([8, 4], 'int32')), /inputs\/labels/],
    [
      'logits of another shape',
      (tensors) => tensors.set('forward/logits', tf.ones([3, 3])),
      /forward\/logits: expected the shape \[3, 2\]/,
    ],
    [
      'a gradient of another shape',
      (tensors) => tensors.set('grads/score.weight', tf.ones([2, 31])),
      /grads\/score\.weight/,
    ],
    [
      'a gradient of no parameter',
      (tensors) => tensors.set('grads/score.bias', tf.ones([2])),
      /grads\/score\.bias|weights\/.*score\.bias/,
    ],
    ['a tensor of no group', (tensors) => tensors.set('forward/probabilities', tf.ones([2])), /forward\/probabilities/],
  ])('%s', async (_, edit, message) => {
    const folder = tiny();
    await editTensors(join(folder, 'tiny.safetensors'), edit);
    expect(problemOf(folder)).toMatch(message);
  });

  it('JSON that is cut off', () => {
    const folder = tiny();
    writeFileSync(join(folder, 'tiny.json'), '{"config": {');
    expect(problemOf(folder)).toMatch(/tiny\.json: \(file\): not JSON/);
  });

  it('tensors without JSON, and JSON without tensors', () => {
    const first = tiny();
    rmSync(join(first, 'tiny.json'));
    expect(problemOf(first)).toMatch(/there is no .*tiny\.json beside it/);
    const second = tiny();
    rmSync(join(second, 'tiny.safetensors'));
    expect(problemOf(second)).toMatch(/tiny\.safetensors: \(file\): missing/);
  });

  it('a safetensors file that is none', () => {
    const folder = tiny();
    writeFileSync(join(folder, 'tiny.safetensors'), 'not tensors at all');
    expect(problemOf(folder)).toMatch(/tiny\.safetensors/);
  });

  it('a tokenizer without encodings, and encodings without ids', () => {
    const folder = newFolder();
    writeFileSync(join(folder, 'tokenizer.json'), '{}');
    expect(problemOf(folder)).toMatch(/encodings\.json: \(file\): missing/);
    writeFileSync(join(folder, 'encodings.json'), '{"rows": [{"text": "a"}]}');
    expect(problemOf(folder)).toMatch(/encodings\.json: rows\.0\.ids/);
  });

  it.each<[string, (json: CaseJson) => unknown, RegExp]>([
    ['too few losses', (json) => ({ ...json, losses: [0.7] }), /train-run\.json: losses: expected 120 steps × 4/],
    ['more steps than reviews', (json) => ({ ...json, steps: 121, losses: Array(484).fill(0) }), /inputs\/lengths/],
    [
      'an accuracy in per cent',
      (json) => ({ ...json, eval_accuracy_after: 70 }),
      /train-run\.json: eval_accuracy_after/,
    ],
  ])('a train-run with %s', (_, edit, message) => {
    const folder = copyCases(TRAIN_RUN, ['train-run']);
    editJson(join(folder, 'train-run.json'), edit);
    expect(problemOf(folder)).toMatch(message);
  });

  it('a folder that is not there', () => {
    expect(problemOf('/nowhere/at-all')).toMatch(/\/nowhere\/at-all/);
  });
});

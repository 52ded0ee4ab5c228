import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tf } from '@tensorloom/core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  BLOOM_CASES,
  copyCases,
  DATA_CASES,
  editJson,
  editTensors,
  FURTHER_CASES,
  newFolder,
  removeFolders,
  TRAIN_RUN,
} from './fixtures.testing.ts';
import { closeCases, readReferenceFolder, type ReferenceCase } from './reference-folder.ts';

const opened: ReferenceCase[] = [];

function read(folder: string): readonly ReferenceCase[] {
  const cases = readReferenceFolder(folder);
  opened.push(...cases);
  return cases;
}

beforeAll(() => tf.setBackend('cpu'));

afterEach(() => {
  closeCases(opened.splice(0));
  removeFolders();
});

describe('a folder of reference cases', () => {
  it('is searched with the folders below it; files that are no cases are left alone', () => {
    const folder = copyCases(BLOOM_CASES, ['tiny'], 'of/bloom');
    writeFileSync(join(folder, 'notes.json'), '{"config": 1}');
    writeFileSync(join(folder, 'README.md'), 'about');
    expect(read(folder).map((each) => each.name)).toEqual(['of/bloom/tiny']);
  });

  it('without a case is refused', () => {
    expect(() => read(newFolder())).toThrow(/no reference case in this folder/);
  });

  it('gives every case that is shipped, of its kind', () => {
    expect(read(BLOOM_CASES).map((each) => `${each.kind} ${each.name}`)).toEqual([
      'model causal-lm',
      'model left-padding',
      'model post-layernorm',
      'model regression',
      'model six-heads',
      'model tiny',
    ]);
    expect(
      read(DATA_CASES)
        .map((each) => each.kind)
        .sort(),
    ).toEqual(['partition', 'tokenizer']);
    expect(read(TRAIN_RUN).map((each) => each.kind)).toEqual(['train-run']);
    expect(read(FURTHER_CASES).length).toBeGreaterThanOrEqual(6);
  });

  it('may have no optimizer run, no gradients, no labels', async () => {
    const folder = copyCases(BLOOM_CASES, ['tiny']);
    editJson(join(folder, 'tiny.json'), (json) => ({ config: json['config'] }));
    await editTensors(join(folder, 'tiny.safetensors'), (tensors) => {
      for (const name of tensors.keys())
        if (!name.startsWith('weights/') && name !== 'inputs/input_ids' && name !== 'forward/logits')
          tensors.delete(name);
    });
    const [only] = read(folder);
    expect(only).toMatchObject({
      kind: 'model',
      head: 'classification',
      microBatches: 8,
      batch: 3,
      seq: 19,
      optimizers: [],
    });
  });

  it('takes the number of steps from the losses', () => {
    const folder = copyCases(BLOOM_CASES, ['tiny']);
    editJson(join(folder, 'tiny.json'), (json) => ({
      ...json,
      scalars: { ...json['scalars'], accumulate_losses: [1, 2, 3, 4] },
    }));
    const [only] = read(folder);
    const runs =
      only?.kind === 'model'
        ? only.optimizers.map(({ tag, algorithm, steps, accumulate }) => [tag, algorithm, steps, accumulate])
        : [];
    expect(runs).toContainEqual(['accumulate', 'adam', 1, 4]);
    expect(runs).toContainEqual(['sgd', 'sgd', 3, 1]);
  });
});

it('a case says what of it is not compared with anything', () => {
  const folder = copyCases(BLOOM_CASES, ['tiny']);
  editJson(join(folder, 'tiny.json'), (json) => ({
    ...json,
    optimizers: { ...json['optimizers'], spare: { optimizer: 'sgd', lr: 1 } },
    scalars: { ...json['scalars'], accuracy: 1 },
  }));
  const [only] = read(folder);
  expect(only?.kind === 'model' && only.notes).toEqual([
    expect.stringContaining('optimizers.spare'),
    expect.stringContaining('scalars.accuracy'),
  ]);
});

it('a case may say more than is compared, as long as it changes nothing', () => {
  const folder = copyCases(BLOOM_CASES, ['tiny']);
  const neutral = { amsgrad: false, maximize: false, foreach: null, fused: true, capturable: false };
  const more = { differentiable: false, decoupled_weight_decay: false, max_norm: null, initial_lr: 1e-3 };
  editJson(join(folder, 'tiny.json'), (json) => ({
    ...json,
    config: { ...json['config'], model_type: 'bloom', unheard_of: { a: [1] } },
    optimizers: { ...json['optimizers'], adam: { lr: 1e-3, ...neutral, ...more } },
    scalars: { ...json['scalars'], remark: 'made on a Tuesday', nothing: null },
    made_with: { python: [3, 12], note: null },
    unheard_of: true,
  }));
  const [only] = read(folder);
  expect(only?.kind === 'model' && only.optimizers.map(({ tag }) => tag)).toContain('adam');
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tf, writeSafetensors } from '@tensorloom/core';
import { buildModel, parseBloomConfig, saveModelFolder } from '@tensorloom/models';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createProgress } from '../run/progress.ts';
import { launchInferenceFabric } from './fabric.ts';
import { openTrainedModel } from './trained-model.ts';

const parent = mkdtempSync(join(tmpdir(), 'tensorloom-trained-'));
beforeAll(async () => {
  await launchInferenceFabric({ accelerator: 'cpu' });
});
afterAll(() => rmSync(parent, { recursive: true, force: true }));

const small = { vocab_size: 40, hidden_size: 16, n_layer: 1, n_head: 2 };

it.each([
  [{ num_labels: 1 }, /for regression \(1 output\)/],
  [{ num_labels: 2, problem_type: 'regression' }, /for regression \(2 outputs\)/],
  [{ num_labels: 3, problem_type: 'multi_label_classification' }, /for multi_label_classification \(3 outputs\)/],
  [{ num_labels: 1, problem_type: 'single_label_classification' }, /need .* at least 2 labels/],
])('a model with %j is refused, which has no one label per text', async (given, message) => {
  const folder = join(parent, JSON.stringify(given));
  await saveModelFolder(folder, buildModel('sequence-classification', parseBloomConfig({ ...small, ...given })));
  const opening = openTrainedModel(folder, { accelerator: 'cpu' }, createProgress({ quiet: true }));
  await expect(opening).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringMatching(message) as string,
  });
});

it('a classifier passes that check: it is the tokenizer that this folder lacks', async () => {
  const folder = join(parent, 'classifier');
  await saveModelFolder(folder, buildModel('sequence-classification', parseBloomConfig({ ...small, num_labels: 2 })));
  const opening = openTrainedModel(folder, { accelerator: 'cpu' }, createProgress({ quiet: true }));
  await expect(opening).rejects.toThrow(/tokenizer/);
});

it('weights that the classifier has no place for are told on standard error, but for the head of a language model', async () => {
  const folder = join(parent, 'more-weights');
  const model = buildModel('sequence-classification', parseBloomConfig({ ...small, num_labels: 2 }));
  await saveModelFolder(folder, model);
  const extra = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`adapter.${i}`, tf.zeros([1])]));
  await writeSafetensors(join(folder, 'model.safetensors'), {
    ...model.stateDict().tensors,
    ...extra,
    'lm_head.weight': tf.zeros([40, 16]),
  });
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    await expect(openTrainedModel(folder, { accelerator: 'cpu' }, createProgress({ quiet: true }))).rejects.toThrow();
    const names = Array.from({ length: 8 }, (_, i) => `adapter.${i}`).join(', ');
    expect(written.mock.calls).toEqual([[`not used, of the weights in ${folder}: ${names}, and 1 more\n`]]);
  } finally {
    written.mockRestore();
  }
});

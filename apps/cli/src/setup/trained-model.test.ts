import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildModel, parseBloomConfig, saveModelFolder } from '@tensorloom/models';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createProgress } from '../run/progress.ts';
import { launchInferenceFabric } from './fabric.ts';
import { openTrainedModel } from './trained-model.ts';

const parent = mkdtempSync(join(tmpdir(), 'tensorloom-trained-'));
beforeAll(async () => void (await launchInferenceFabric({ accelerator: 'cpu' })));
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

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seedEverything, tf, writeSafetensors } from '@tensorloom/core';
import type { Tokenizer } from '@tensorloom/data';
import { buildModel, parseBloomConfig, saveModelFolder, type BloomForSequenceClassification } from '@tensorloom/models';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Progress } from '../run/progress.ts';
import { launchInferenceFabric } from './fabric.ts';
import { createClassifier } from './model.ts';

const parent = mkdtempSync(join(tmpdir(), 'tensorloom-setup-'));
beforeAll(async () => {
  await launchInferenceFabric({ accelerator: 'cpu' });
});
afterAll(() => rmSync(parent, { recursive: true, force: true }));

const tokenizer = { vocabSize: 40 } as Tokenizer;

function head(model: BloomForSequenceClassification): number[][] {
  return model.score.weight.value.arraySync() as number[][];
}

/** Saves a model that tells `names` apart, and makes a classifier of it for data with `wanted`. */
async function reuse(names: readonly string[], wanted: readonly string[], problemType?: string) {
  seedEverything(1);
  const folder = join(parent, `${names.join('-')}-${problemType}`);
  const config = parseBloomConfig({
    vocab_size: 40,
    hidden_size: 16,
    n_layer: 1,
    n_head: 2,
    id2label: Object.fromEntries(names.map((name, id) => [id, name])),
    ...(problemType === undefined ? {} : { problem_type: problemType }),
  });
  const saved = buildModel('sequence-classification', config);
  await saveModelFolder(folder, saved);
  const lines: string[] = [];
  const progress = { line: (text: string) => void lines.push(text) } as Progress;
  const model = createClassifier({ kind: 'folder', folder }, tokenizer, wanted, { maxLength: 8 }, progress);
  expect(model.config.labelNames).toEqual(wanted);
  return { saved: head(saved), made: head(model), model, lines: lines.join('\n') };
}

describe('the head of a model folder', () => {
  it('is taken as it is where the labels are the same, or have no names', async () => {
    for (const names of [
      ['bad', 'good'],
      ['LABEL_0', 'LABEL_1'],
    ]) {
      const { saved, made, lines } = await reuse(names, ['bad', 'good']);
      expect(made).toEqual(saved);
      expect(lines).toBe('');
    }
  });

  it('follows the labels where the data has them in another order, and says so', async () => {
    const { saved, made, lines } = await reuse(['a', 'b', 'c'], ['c', 'a', 'b']);
    expect(made).toEqual([saved[2], saved[0], saved[1]]);
    expect(lines).toMatch(/label order of .* changed to that of the data: c, a, b/);
  });

  it.each([
    { names: ['sport', 'news'], wanted: ['bad', 'good'] },
    { names: ['bad', 'good', 'mixed'], wanted: ['bad', 'good'] },
  ])('is made anew for the labels $wanted of a model with $names, naming both', async ({ names, wanted }) => {
    const { saved, made, lines } = await reuse(names, wanted);
    expect(made).toHaveLength(2);
    expect(made).not.toEqual(saved.slice(0, 2));
    expect(lines).toContain('initialized afresh: score.weight');
    expect(lines).toContain(`tells apart [${names.join(', ')}], the data has [bad, good]`);
  });

  it('learns one label per text, whatever the folder was trained for', async () => {
    const { model } = await reuse(['toxic', 'spam'], ['toxic', 'spam'], 'multi_label_classification');
    expect(model.config.problemType).toBe('single_label_classification');
  });
});

it('training from a folder tells which of its weights are not used', async () => {
  const folder = join(parent, 'more-weights');
  const model = buildModel(
    'sequence-classification',
    parseBloomConfig({ vocab_size: 40, hidden_size: 16, n_layer: 1, n_head: 2, num_labels: 2 }),
  );
  await saveModelFolder(folder, model);
  await writeSafetensors(join(folder, 'model.safetensors'), {
    ...model.stateDict().tensors,
    'adapter.down': tf.zeros([1]),
    'lm_head.weight': tf.zeros([40, 16]),
  });
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    createClassifier({ kind: 'folder', folder }, tokenizer, ['a', 'b'], { maxLength: 8 }, {
      line: () => {},
    } as unknown as Progress);
    expect(written.mock.calls).toEqual([[`not used, of the weights in ${folder}: adapter.down\n`]]);
  } finally {
    written.mockRestore();
  }
});

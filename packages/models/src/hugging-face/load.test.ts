import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RandomGenerator, tf, writeSafetensors, type Tensor } from '@tensorloom/core';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { toHuggingFaceConfig } from '../bloom/config.ts';
import { loadPretrained } from '../load-pretrained.ts';
import { activate, largestError } from '../testing.test-helper.ts';
import { loadModelFolder } from './load.ts';
import { saveModelFolder } from './save.ts';
import { bfloat16File, fresh, values } from './small-folder.test-helper.ts';

let parent: string;
let folder: string;
beforeAll(() => activate('cpu'));
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'tensorloom-folder-'));
  folder = join(parent, 'model');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

/** A folder with the body's tensors, renamed, changed or left out by `edit`. */
async function writeFolder(
  edit: (name: string, tensor: Tensor) => readonly [string, Tensor] | null,
  extra: Record<string, Tensor> = {},
): Promise<ReturnType<typeof fresh>> {
  const model = fresh();
  mkdirSync(folder);
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify(toHuggingFaceConfig(model.config, 'BloomForSequenceClassification')),
  );
  const entries = Object.entries(model.stateDict().tensors)
    .flatMap(([name, tensor]) => [edit(name, tensor) ?? []])
    .filter((entry) => entry.length === 2);
  await writeSafetensors(join(folder, 'model.safetensors'), {
    ...Object.fromEntries(entries as [string, Tensor][]),
    ...extra,
  });
  return model;
}

describe('loading', () => {
  it('accepts names without the prefix, initialises the missing head and says so', async () => {
    const model = await writeFolder((name, tensor) =>
      name === 'score.weight' ? null : [name.replace('transformer.', ''), tensor],
    );
    const seeded = () => loadModelFolder(folder, 'sequence-classification', { random: new RandomGenerator(4) });
    const loaded = seeded();
    expect(loaded.report.freshlyInitialized).toEqual(['score.weight']);
    const { 'score.weight': head, ...body } = values(loaded.model);
    const { 'score.weight': _, ...expected } = values(model);
    expect(body).toEqual(expected);
    expect(largestError(head as Float32Array, new Float32Array(32))).toBeGreaterThan(0);
    expect(values(seeded().model)['score.weight']).toEqual(head);
  });

  it('names every tensor that is missing or of another shape, and those not used', async () => {
    await writeFolder(
      (name, tensor) =>
        name.includes('h.1.mlp.dense_h_to_4h.bias')
          ? null
          : name.endsWith('ln_f.weight')
            ? [name, tf.zeros([17])]
            : [name, tensor],
      { 'transformer.h.1.extra': tf.zeros([2]) },
    );
    const load = () => loadModelFolder(folder, 'sequence-classification');
    expect(load).toThrow(/missing: transformer\.h\.1\.mlp\.dense_h_to_4h\.bias/);
    expect(load).toThrow(/shape of transformer\.ln_f\.weight: stored \[17\], expected \[16\]/);
    expect(load).toThrow(/not used: transformer\.h\.1\.extra/);
    const before = tf.memory().numTensors;
    expect(load).toThrow();
    expect(tf.memory().numTensors).toBe(before);
  });

  it.each(['transformer.h.3.ln_1.weight', 'h.3.ln_1.weight'])(
    'refuses more blocks than n_layer says: %s',
    async (name) => {
      await writeFolder((name, tensor) => [name, tensor], { [name]: tf.zeros([16]) });
      const load = () => loadModelFolder(folder, 'sequence-classification');
      expect(load).toThrow(/config\.json says n_layer 2, the weights have 4 blocks \(h\.3\)/);
      expect(load).toThrow(expect.objectContaining({ code: 'BAD_FILE' }));
    },
  );

  it('reports tensors that the model has no place for, such as another head', async () => {
    await writeFolder((name, tensor) => [name, tensor], {
      'lm_head.weight': tf.zeros([40, 16]),
      'classifier.bias': tf.zeros([2]),
    });
    expect([...loadModelFolder(folder, 'sequence-classification').report.unused].sort()).toEqual([
      'classifier.bias',
      'lm_head.weight',
    ]);
    expect([...loadModelFolder(folder, 'causal-lm').report.unused].sort()).toEqual(['classifier.bias', 'score.weight']);
  });

  it('refuses a head with another number of labels unless a new one is asked for', async () => {
    await saveModelFolder(folder, fresh());
    const options = { config: { numLabels: 5 } };
    expect(() => loadModelFolder(folder, 'sequence-classification', options)).toThrow(
      /shape of score\.weight: stored \[2, 16\], expected \[5, 16\]/,
    );
    const loaded = loadModelFolder(folder, 'sequence-classification', { ...options, ignoreMismatchedHead: true });
    expect(loaded.report.freshlyInitialized).toEqual(['score.weight']);
    expect(loaded.model.score.weight.shape).toEqual([5, 16]);
  });

  it('initialises a head that fits afresh where that is asked for', async () => {
    const saved = fresh();
    await saveModelFolder(folder, saved);
    const loaded = loadModelFolder(folder, 'sequence-classification', { freshHead: true });
    expect(loaded.report).toMatchObject({ freshlyInitialized: ['score.weight'], unused: [] });
    const { 'score.weight': head, ...body } = values(loaded.model);
    const { 'score.weight': savedHead, ...savedBody } = values(saved);
    expect(body).toEqual(savedBody);
    expect(head).not.toEqual(savedHead);
  });

  it('converts half-precision files', () => {
    const model = fresh();
    mkdirSync(folder);
    writeFileSync(
      join(folder, 'config.json'),
      JSON.stringify(toHuggingFaceConfig(model.config, 'BloomForSequenceClassification')),
    );
    writeFileSync(
      join(folder, 'model.safetensors'),
      bfloat16File(values(model), new Map([...model.namedParameters()].map(([name, { shape }]) => [name, shape]))),
    );
    const loaded = loadModelFolder(folder, 'sequence-classification');
    expect(loaded.report.storedAs).toEqual(['BF16']);
    const [original, converted] = [values(model), values(loaded.model)];
    for (const name of Object.keys(original))
      (original[name] as Float32Array).forEach((value, i) =>
        expect(Math.abs((converted[name]?.[i] as number) - value)).toBeLessThanOrEqual(Math.abs(value) / 128),
      );
  });

  it.each([
    ['pytorch_model.bin', /a pickle, which is not read; convert it to safetensors/],
    ['nothing', /has neither model\.safetensors nor model\.safetensors\.index\.json/],
  ])('says what is missing when there is only %s', (name, message) => {
    mkdirSync(folder);
    writeFileSync(join(folder, 'config.json'), '{}');
    writeFileSync(join(folder, name), '');
    expect(() => loadModelFolder(folder, 'sequence-classification')).toThrow(message);
  });

  it('names the file that is not JSON, and never reads a shard outside the folder', () => {
    mkdirSync(folder);
    writeFileSync(join(folder, 'config.json'), '{"vocab_size": ');
    expect(() => loadModelFolder(folder, 'sequence-classification')).toThrow(/config\.json is not valid JSON/);
    writeFileSync(join(folder, 'config.json'), '{}');
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { a: '../secret' } }));
    expect(() => loadModelFolder(folder, 'sequence-classification')).toThrow(/a shard must be a file beside the index/);
  });

  it('follows the links of the hub cache', async () => {
    await saveModelFolder(folder, fresh());
    const snapshot = join(parent, 'snapshot');
    mkdirSync(snapshot);
    for (const name of readdirSync(folder)) symlinkSync(join(folder, name), join(snapshot, name));
    expect(existsSync(join(snapshot, 'config.json'))).toBe(true);
    expect(values(loadModelFolder(snapshot, 'sequence-classification').model)).toEqual(values(fresh()));
  });
});

describe('loadPretrained', () => {
  it('gives a preset random weights and reports them all as fresh', async () => {
    const { model, report, source } = await loadPretrained('bloom-tiny', {
      config: { vocabSize: 30, labelNames: ['a', 'b', 'c'] },
      random: new RandomGenerator(1),
    });
    expect(source.kind).toBe('preset');
    expect(model.config).toMatchObject({ vocabSize: 30, numLabels: 3 });
    expect(report.freshlyInitialized).toHaveLength(model.parameters().length);
  });

  it('loads a folder with either head', async () => {
    await saveModelFolder(folder, fresh());
    expect((await loadPretrained(folder)).model.score.weight.shape).toEqual([2, 16]);
    expect((await loadPretrained(folder, { head: 'causal-lm' })).report.unused).toEqual(['score.weight']);
  });
});

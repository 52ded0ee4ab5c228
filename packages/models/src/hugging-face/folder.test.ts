import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors, RandomGenerator, tf, writeSafetensors, type Tensor } from '@tensorloom/core';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseBloomConfig, toHuggingFaceConfig, withConfig } from '../bloom/config.ts';
import { parameterShapes } from '../bloom/shapes.ts';
import { loadPretrained } from '../load-pretrained.ts';
import { activate, largestError } from '../testing.test-helper.ts';
import { buildModel, loadModelFolder } from './load.ts';
import { saveModelFolder } from './save.ts';

const config = parseBloomConfig({
  vocab_size: 40,
  hidden_size: 16,
  n_layer: 2,
  n_head: 4,
  pad_token_id: 3,
  seq_length: 32,
  offset_alibi: 100,
});
let parent: string;
let folder: string;
beforeAll(() => activate('cpu'));
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'tensorloom-folder-'));
  folder = join(parent, 'model');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const fresh = (seed = 1, numLabels = 2) =>
  buildModel('sequence-classification', withConfig(config, { numLabels }), { random: new RandomGenerator(seed) });

function values(model: ReturnType<typeof fresh>): Record<string, Float32Array> {
  return Object.fromEntries(
    [...model.namedParameters()].map(([name, parameter]) => [name, parameter.value.dataSync<'float32'>().slice()]),
  );
}

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

describe('a model folder', () => {
  it('comes back to the last bit, with its configuration', async () => {
    const model = fresh();
    await saveModelFolder(folder, model);
    const loaded = loadModelFolder(folder, 'sequence-classification');
    expect(values(loaded.model)).toEqual(values(model));
    expect(loaded.config).toEqual(model.config);
    expect(loaded.report).toEqual({ freshlyInitialized: [], unused: [], storedAs: ['F32'] });
  });

  it('holds the files, names and metadata of transformers', async () => {
    await saveModelFolder(folder, fresh());
    expect(readdirSync(folder).sort()).toEqual(['config.json', 'model.safetensors']);
    const file = openSafetensors(join(folder, 'model.safetensors'));
    expect(file.metadata).toEqual({ format: 'pt' });
    expect([...file.tensors.keys()].sort()).toEqual(
      [...parameterShapes(config, 'sequence-classification')].map(([name]) => name).sort(),
    );
    file.close();
    const json = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(json).toMatchObject({
      model_type: 'bloom',
      architectures: ['BloomForSequenceClassification'],
      offset_alibi: 100,
      dtype: 'float32',
    });
    expect(Object.keys(json)).toEqual(Object.keys(json).sort());
  });

  it('is sharded above a size, with the index of transformers, and read back', async () => {
    const model = fresh();
    await saveModelFolder(folder, model, { maxShardBytes: 8000 });
    const files = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
    expect(files.length).toBeGreaterThan(2);
    expect(files.every((name) => new RegExp(`^model-0000\\d-of-0000${files.length}\\.safetensors$`).test(name))).toBe(
      true,
    );
    const index = JSON.parse(readFileSync(join(folder, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: object;
      weight_map: Record<string, string>;
    };
    expect(index.metadata).toEqual({
      total_parameters: model.parameterCount(),
      total_size: model.parameterCount() * 4,
    });
    expect(Object.keys(index.weight_map)).toHaveLength(model.parameters().length);
    expect(values(loadModelFolder(folder, 'sequence-classification').model)).toEqual(values(model));
  });

  it('names a shard that is missing', async () => {
    await saveModelFolder(folder, fresh(), { maxShardBytes: 8000 });
    const victim = readdirSync(folder).find((name) => name.startsWith('model-00002')) as string;
    rmSync(join(folder, victim));
    expect(() => loadModelFolder(folder, 'sequence-classification')).toThrow(
      new RegExp(`names files that are not there: ${victim}`),
    );
  });

  it('takes the tokenizer along and describes a bare one for AutoTokenizer', async () => {
    const tokenizer = join(parent, 'tokenizer.json');
    writeFileSync(
      tokenizer,
      JSON.stringify({
        added_tokens: [
          { id: 3, content: '<pad>' },
          { id: 1, content: '<s>' },
        ],
      }),
    );
    await saveModelFolder(folder, fresh(), { tokenizer });
    expect(JSON.parse(readFileSync(join(folder, 'tokenizer_config.json'), 'utf8'))).toEqual({
      tokenizer_class: 'PreTrainedTokenizerFast',
      padding_side: 'right',
      clean_up_tokenization_spaces: false,
      pad_token: '<pad>',
      bos_token: '<s>',
      model_max_length: 32,
    });
    await saveModelFolder(join(parent, 'again'), fresh(), { tokenizer: folder });
    expect(readdirSync(join(parent, 'again')).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    await expect(saveModelFolder(folder, fresh(), { tokenizer: join(parent, 'none') })).rejects.toThrow(
      /No tokenizer at/,
    );
  });

  it('replaces a folder as a whole and leaves nothing else behind', async () => {
    await saveModelFolder(folder, fresh(), { maxShardBytes: 8000 });
    const next = fresh(2);
    await saveModelFolder(folder, next);
    expect(readdirSync(folder).sort()).toEqual(['config.json', 'model.safetensors']);
    expect(readdirSync(parent)).toEqual(['model']);
    expect(values(loadModelFolder(folder, 'sequence-classification').model)).toEqual(values(next));
  });

  it('stays as it was when writing fails', async () => {
    await saveModelFolder(folder, fresh());
    const before = readFileSync(join(folder, 'model.safetensors'));
    const broken = fresh(2);
    broken.score.dispose();
    await expect(saveModelFolder(folder, broken)).rejects.toThrow();
    expect(readFileSync(join(folder, 'model.safetensors'))).toEqual(before);
    expect(readdirSync(parent)).toEqual(['model']);
    writeFileSync(join(parent, 'file'), '');
    await expect(saveModelFolder(join(parent, 'file', 'model'), fresh())).rejects.toMatchObject({ code: 'IO' });
  });
});

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
      { 'transformer.h.2.extra': tf.zeros([2]) },
    );
    const load = () => loadModelFolder(folder, 'sequence-classification');
    expect(load).toThrow(/missing: transformer\.h\.1\.mlp\.dense_h_to_4h\.bias/);
    expect(load).toThrow(/shape of transformer\.ln_f\.weight: stored \[17\], expected \[16\]/);
    expect(load).toThrow(/not used: transformer\.h\.2\.extra/);
    const before = tf.memory().numTensors;
    expect(load).toThrow();
    expect(tf.memory().numTensors).toBe(before);
  });

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

/** A safetensors file that stores the upper half of each float32 (bfloat16 by truncation). */
function bfloat16File(tensors: Record<string, Float32Array>, shapes: ReadonlyMap<string, readonly number[]>): Buffer {
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

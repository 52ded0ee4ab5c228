import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors } from '@tensorloom/core';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parameterShapes } from '../bloom/shapes.ts';
import { activate, below, openGolden } from '../testing.test-helper.ts';
import { buildModel, loadModelFolder } from './load.ts';
import { saveModelFolder } from './save.ts';
import { config, fresh, values } from './small-folder.test-helper.ts';

let parent: string;
let folder: string;
beforeAll(() => activate('cpu'));
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'tensorloom-folder-'));
  folder = join(parent, 'model');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

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

  it('is written byte for byte as transformers does, single and sharded', async () => {
    const golden = openGolden('tiny');
    const model = buildModel('sequence-classification', golden.config, { emptyInit: true });
    model.loadStateDict({ tensors: below(golden, 'weights'), values: {} });
    golden.close();
    const reference = JSON.parse(
      readFileSync(new URL('../../fixtures/transformers-folder.json', import.meta.url), 'utf8'),
    ) as { max_shard_bytes: number; single: Record<string, string>; sharded: Record<string, string> };
    const hashes = (): Record<string, string> =>
      Object.fromEntries(
        readdirSync(folder)
          .filter((name) => name.startsWith('model'))
          .sort()
          .map((name) => [
            name,
            createHash('sha256')
              .update(readFileSync(join(folder, name)))
              .digest('hex'),
          ]),
      );
    await saveModelFolder(folder, model);
    expect(hashes()).toEqual(reference.single);
    await saveModelFolder(folder, model, { maxShardBytes: reference.max_shard_bytes });
    expect(hashes()).toEqual(reference.sharded);
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

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CheckpointFolderIO,
  HostTensor,
  joinRows,
  RandomGenerator,
  storedInMemory,
  type StoredTensor,
} from '@tensorloom/core';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { withConfig } from '../bloom/config.ts';
import { activate } from '../testing.test-helper.ts';
import { buildModel } from './load.ts';
import { saveModelFolder, saveModelState } from './save.ts';
import { config, fresh, values } from './small-folder.test-helper.ts';
import { describeStoredModel } from './stored-model.ts';

let parent: string;
let folder: string;
beforeAll(() => activate('cpu'));
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'tensorloom-state-'));
  folder = join(parent, 'model');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const filesOf = (path: string): Record<string, string> =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString('base64')]));

/** A model's parameters in pieces, under names in another order, as a checkpoint of several ranks gives them. */
function inPieces(model: ReturnType<typeof fresh>): Map<string, StoredTensor> {
  const entries = [...model.namedParameters()].map(([name, parameter]): [string, StoredTensor] => {
    const whole = storedInMemory(new HostTensor(parameter.value.dataSync<'float32'>().slice(), parameter.shape));
    const rows = parameter.shape[0]!;
    const cut = rows >> 1;
    const [above, below] = [whole.readRows(0, cut), whole.readRows(cut, rows)].map(storedInMemory);
    return [name, joinRows([above!, below!], 'float32')];
  });
  return new Map(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

describe('a model folder written from stored parameters', () => {
  it.each([undefined, 8000])(
    'has the bytes of one written from the model (shards of %s bytes)',
    async (maxShardBytes) => {
      const options = maxShardBytes === undefined ? {} : { maxShardBytes };
      const model = fresh();
      await saveModelFolder(folder, model, options);
      const tensors = inPieces(model);
      // What the module itself holds is not looked at.
      const other = fresh(2);
      await saveModelFolder(join(parent, 'state'), other, { ...options, state: { tensors } });
      expect(filesOf(join(parent, 'state'))).toEqual(filesOf(folder));
      const source = {
        config: model.config,
        architecture: 'BloomForSequenceClassification' as const,
        state: { tensors },
      };
      await saveModelState(join(parent, 'bare'), source, options);
      expect(filesOf(join(parent, 'bare'))).toEqual(filesOf(folder));
    },
  );

  it('holds one parameter at a time, in the order of the file', async () => {
    const model = fresh();
    const order: string[] = [];
    const tensors = new Map(
      [...inPieces(model)].map(([name, stored]) => [
        name,
        { shape: stored.shape, read: () => (order.push(name), stored.read()) },
      ]),
    );
    await saveModelFolder(folder, model, { state: { tensors } });
    expect(order).toEqual([...order].sort());
    expect(order).toHaveLength(model.parameters().length);
  });

  it('refuses parameters of another model, naming each difference, and leaves what was there', async () => {
    const model = fresh();
    await saveModelFolder(folder, model);
    const before = filesOf(folder);
    const tensors = inPieces(model);
    tensors.delete('transformer.ln_f.bias');
    tensors.set('lm_head.weight', storedInMemory(new HostTensor(new Float32Array(2), [2])));
    tensors.set('score.weight', storedInMemory(new HostTensor(new Float32Array(48), [3, 16])));
    await expect(saveModelFolder(folder, model, { state: { tensors } })).rejects.toMatchObject({
      code: 'BAD_CHECKPOINT',
      message: expect.stringMatching(
        /unexpected: lm_head\.weight[^]*missing: transformer\.ln_f\.bias[^]*shape of score\.weight: stored \[3, 16\], expected \[2, 16\]/,
      ),
    });
    expect(filesOf(folder)).toEqual(before);
    expect(readdirSync(parent)).toEqual(['model']);
  });

  it('refuses a parameter that is not what its shape said, and leaves nothing', async () => {
    const model = fresh();
    const tensors = inPieces(model);
    const shape = tensors.get('score.weight')!.shape;
    tensors.set('score.weight', {
      ...tensors.get('score.weight')!,
      read: () => new HostTensor(new Int32Array(32), shape),
    });
    await expect(saveModelFolder(folder, model, { state: { tensors } })).rejects.toThrow(
      /'score\.weight' was announced as float32 .* read as int32/,
    );
    expect(readdirSync(parent)).toEqual([]);
  });
});

describe('a checkpoint of a model', () => {
  it.each(['sequence-classification', 'causal-lm'] as const)('says what model it is: %s', async (head) => {
    const named = withConfig(config, {
      labelNames: ['bad', 'good', 'none'],
      problemType: 'single_label_classification',
    });
    const model = buildModel(head, named, { random: new RandomGenerator(1) });
    const io = new CheckpointFolderIO();
    await io.saveCheckpoint(folder, { statefuls: { model: model.stateDict() }, values: {} });
    const stored = (await io.openCheckpoint(folder)).statefuls.get('model')!;
    const { config: found, architecture } = describeStoredModel(stored.values, 'here')!;
    // A language model's configuration has no labels.
    expect(found).toEqual(head === 'causal-lm' ? config : named);
    await saveModelState(join(parent, 'out'), { config: found, architecture, state: stored });
    await saveModelFolder(join(parent, 'direct'), model);
    expect(filesOf(join(parent, 'out'))).toEqual(filesOf(join(parent, 'direct')));
    const other = buildModel(head, named, { random: new RandomGenerator(2) });
    other.loadStateDict(stored);
    expect(values(other as never)).toEqual(values(model as never));
  });

  it('of something else is not mistaken for one', () => {
    for (const given of [{}, { config: 3 }, { config: { lr: 1 } }])
      expect(describeStoredModel(given, 'here')).toBeUndefined();
    expect(() => describeStoredModel({ config: { architectures: ['GPT2'] } }, 'here')).toThrow(/here holds .*GPT2/);
    expect(() => describeStoredModel({ config: { architectures: ['BloomForCausalLM'], n_layer: 0 } }, 'here')).toThrow(
      expect.objectContaining({ code: 'BAD_FILE' }),
    );
  });
});

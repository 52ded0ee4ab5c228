import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CheckpointFolderIO,
  HostTensor,
  RandomGenerator,
  SingleProcessGroup,
  storedInMemory,
  tf,
  type CheckpointContent,
  type StateDict,
} from '@tensorloom/core';
import { buildModel, preset, saveModelFolder, type BloomForSequenceClassification } from '@tensorloom/models';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { consolidate } from './consolidate.ts';
import { run } from './program.ts';
import { RunFolder } from './run/run-folder.ts';

let folder: string;
let runFolder: RunFolder;
let out: string;
let printed: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tensorloom-consolidate-'));
  runFolder = new RunFolder(join(folder, 'run'));
  out = join(folder, 'out');
  printed = '';
  for (const stream of [process.stdout, process.stderr])
    vi.spyOn(stream, 'write').mockImplementation((text) => ((printed += String(text)), true));
  mkdirSync(runFolder.checkpoints, { recursive: true });
  mkdirSync(runFolder.tokenizer);
  writeFileSync(runFolder.configJson, JSON.stringify({ options: { 'padding-side': 'left' }, origins: {} }));
  writeFileSync(join(runFolder.tokenizer, 'tokenizer.json'), '{"added_tokens":[{"id":3,"content":"<pad>"}]}');
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const { config } = preset('bloom-tiny');
const small = { ...config, vocabSize: 50, hiddenSize: 16, numLayers: 2, numHeads: 2, maxLength: 32 };
const create = (seed: number): BloomForSequenceClassification =>
  buildModel(
    'sequence-classification',
    { ...small, labelNames: ['bad', 'good'] },
    { random: new RandomGenerator(seed) },
  );

const io = new CheckpointFolderIO();
const step = (n: number): string => join(runFolder.checkpoints, `step-${n}`);

/** Ranks as tasks of one thread that meet in `allGatherObject`. */
async function inWorld(worldSize: number, task: (group: SingleProcessGroup) => Promise<void>): Promise<void> {
  const meetings: { values: unknown[]; wake: (() => void)[] }[] = [];
  class Rank extends SingleProcessGroup {
    override readonly worldSize = worldSize;
    #calls = 0;
    constructor(override readonly rank: number) {
      super();
    }
    override async allGatherObject<T>(value: T): Promise<T[]> {
      const meeting = (meetings[this.#calls++] ??= { values: [], wake: [] });
      meeting.values[this.rank] = value;
      const met = new Promise<void>((resolve) => meeting.wake.push(resolve));
      if (meeting.wake.length === worldSize) for (const wake of meeting.wake) wake();
      await met;
      return meeting.values as T[];
    }
  }
  await Promise.all(Array.from({ length: worldSize }, (_, rank) => task(new Rank(rank))));
}

/** The rows of one rank, as fsdp shares them out. */
function shardOf(model: BloomForSequenceClassification, rank: number, worldSize: number): StateDict {
  const { tensors, values } = model.stateDict();
  const rows = Object.entries(tensors).map(([name, tensor]) => {
    const height = tensor.shape[0]!;
    const share = Math.ceil(height / worldSize);
    const host = storedInMemory(new HostTensor(tensor.dataSync<'float32'>(), tensor.shape));
    const part = host.readRows(Math.min(height, rank * share), Math.min(height, (rank + 1) * share));
    return [name, tf.tensor(part.data, [...part.shape])] as const;
  });
  return { tensors: Object.fromEntries(rows), values, shards: new Set(Object.keys(tensors)) };
}

/** A checkpoint as a run leaves it: with an optimizer and Fabric's own pieces. */
const contentOf = (model: StateDict): CheckpointContent => ({
  statefuls: {
    model,
    optimizer: { tensors: { moment: tf.zeros([3]) }, values: { lr: 1 } },
    'fabric.random': { tensors: {}, values: { state: [1] }, scope: 'rank' },
  },
  values: { epoch: 1 },
});
const save = (path: string, model: BloomForSequenceClassification, worldSize = 1): Promise<void> =>
  inWorld(worldSize, (group) => io.saveCheckpoint(path, contentOf(shardOf(model, group.rank, group.worldSize)), group));

const filesOf = (path: string): Record<string, string> =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString('base64')]));

async function expectedFiles(
  model: BloomForSequenceClassification,
  maxShardBytes = 5e9,
): Promise<Record<string, string>> {
  const path = join(folder, 'expected');
  await saveModelFolder(path, model, { tokenizer: runFolder.tokenizer, paddingSide: 'left', maxShardBytes });
  return filesOf(path);
}

describe('consolidate', () => {
  it.each([1, 2, 3, 4])('gives the bytes of one process, of a checkpoint of %d ranks', async (worldSize) => {
    const model = create(1);
    await save(step(1), model, worldSize);
    await consolidate({ checkpoint: step(1), out });
    expect(filesOf(out)).toEqual(await expectedFiles(model));
    expect(printed).toMatch(/BloomForSequenceClassification of .*step-1, .* parameters, .* in 1 file\n$/);
    expect(Object.keys(filesOf(out)).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
  });

  it('shards the weights above --max-shard-bytes as one process would', async () => {
    const model = create(1);
    await save(step(1), model, 3);
    expect(await run(['consolidate', step(1), out, '--max-shard-bytes=8e3'])).toBe(0);
    const expected = await expectedFiles(model, 8000);
    expect(Object.keys(expected)).toContain('model.safetensors.index.json');
    expect(filesOf(out)).toEqual(expected);
  });

  it('takes the newest whole checkpoint of a run, and says which ones are damaged', async () => {
    await save(step(1), create(1));
    await save(step(2), create(2), 2);
    await save(step(3), create(3), 2);
    const damaged = join(step(3), 'optimizer.safetensors');
    const bytes = readFileSync(damaged);
    writeFileSync(
      damaged,
      bytes.map((byte, index) => (index === bytes.length - 1 ? byte ^ 1 : byte)),
    );
    await consolidate({ checkpoint: runFolder.path, out });
    expect(filesOf(out)).toEqual(await expectedFiles(create(2)));
    expect(printed).toMatch(/step-3\/optimizer\.safetensors does not match its checksum.* An older one is taken/);
    await consolidate({ checkpoint: runFolder.checkpoints, out, force: true });
    expect(filesOf(out)).toEqual(await expectedFiles(create(2)));
    await expect(consolidate({ checkpoint: step(3), out, force: true })).rejects.toThrow(/does not match its checksum/);
  });

  it('works without a run folder, with the tokenizer that is given or none', async () => {
    const model = create(1);
    const alone = join(folder, 'alone');
    await save(alone, model, 2);
    await consolidate({ checkpoint: alone, out });
    expect(readdirSync(out).sort()).toEqual(['config.json', 'model.safetensors']);
    expect(printed).toMatch(/without a tokenizer/);
    await consolidate({ checkpoint: alone, out, force: true, tokenizer: join(runFolder.tokenizer, 'tokenizer.json') });
    expect(readdirSync(out)).toContain('tokenizer_config.json');
    const before = filesOf(out);
    await expect(
      consolidate({ checkpoint: alone, out, force: true, tokenizer: join(folder, 'none') }),
    ).rejects.toMatchObject({ code: 'BAD_OPTION' });
    expect(filesOf(out)).toEqual(before);
  });
});

describe('consolidate refuses', () => {
  const refused = async (args: readonly string[], code: number, message: RegExp): Promise<void> => {
    printed = '';
    expect(await run(['consolidate', ...args])).toBe(code);
    expect(printed).toMatch(message);
    expect(printed).not.toMatch(/defect/);
  };

  it('what is no checkpoint, saying what is missing', async () => {
    writeFileSync(join(folder, 'file'), '');
    await refused([join(folder, 'absent'), out], 2, /absent does not exist/);
    await refused([join(folder, 'file'), out], 2, /is a file/);
    await refused([runFolder.path, out], 1, /is a run without a complete checkpoint/);
    await refused([runFolder.tokenizer, out], 1, /not a complete checkpoint \(it has no state\.json\)/);
    await save(step(1), create(1), 2);
    truncateSync(join(step(1), 'model.rank-0001-of-0002.safetensors'), 5);
    await refused([step(1), out], 1, /rank-0001-of-0002\.safetensors has 5 bytes/);
    await refused([runFolder.path, out], 1, /is a run without a complete checkpoint/);
    expect(readdirSync(folder).sort()).toEqual(['file', 'run']);
  });

  it('a folder that is not empty unless --force is given, and one with the checkpoint in it always', async () => {
    await save(step(1), create(1));
    mkdirSync(out);
    await consolidate({ checkpoint: step(1), out });
    await refused([step(1), out], 2, /exists already and is not empty.*--force/);
    await refused([step(1), out, '--force'], 0, /1 file/);
    writeFileSync(join(folder, 'file'), '');
    await refused([step(1), join(folder, 'file'), '--force'], 2, /is a file/);
    for (const taken of [step(1), runFolder.checkpoints, runFolder.path, folder])
      await refused([step(1), taken, '--force'], 2, /holds the checkpoint that is to be read/);
    expect(readdirSync(step(1))).toContain('state.json');
  });

  it('a checkpoint without a model of ours, or with several and no --key', async () => {
    await io.saveCheckpoint(step(1), contentOf({ tensors: { weight: tf.zeros([2]) }, values: {} }));
    await refused([step(1), out], 1, /holds no model with its configuration \(it has model, optimizer\)/);
    const [student, teacher] = [create(1), create(2)];
    await io.saveCheckpoint(step(2), {
      statefuls: { student: student.stateDict(), teacher: teacher.stateDict() },
      values: {},
    });
    await refused([step(2), out], 2, /several models: student, teacher\. Choose one by --key/);
    await refused([step(2), out, '--key=pupil'], 2, /--key=pupil: .* has no such entry; it has student, teacher/);
    await refused([step(2), out, '--key=teacher'], 0, /1 file/);
    expect(filesOf(out)).toEqual(await expectedFiles(teacher));
  });

  it('a model that lost a parameter on the way', async () => {
    const { tensors, values } = create(1).stateDict();
    const { 'score.weight': _left, ...rest } = tensors;
    await io.saveCheckpoint(step(1), contentOf({ tensors: rest, values }));
    await refused([step(1), out], 1, /missing: score\.weight/);
    expect(readdirSync(folder)).toEqual(['run']);
  });

  it.each(['', '0', '-5', '1.5', 'many'])('--max-shard-bytes=%s', async (bytes) => {
    await refused([step(1), out, `--max-shard-bytes=${bytes}`], 2, /expected a whole number of bytes/);
  });

  it('other numbers of arguments', async () => {
    await refused([step(1)], 2, /missing required argument 'out'/);
    await refused([step(1), out, 'more'], 2, /too many arguments/);
  });
});

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { tf } from '../tensors.ts';
import { writeFileAtomically, writeFolderAtomically } from './atomic-write.ts';
import { CheckpointFolderIO, isCompleteCheckpoint } from './checkpoint-folder.ts';
import type { CheckpointContent } from './checkpoint-io.ts';
import { completeCheckpoints, newestCompleteCheckpoint, pruneCheckpoints } from './retention.ts';

const root = mkdtempSync(join(tmpdir(), 'tensorloom-checkpoints-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(root, String(count++));
  mkdirSync(folder);
});

const io = new CheckpointFolderIO();
const content = (value: number): CheckpointContent => ({
  statefuls: {
    model: { tensors: { weight: tf.tensor1d([value, 2]), bias: tf.scalar(3) }, values: { note: 'x' } },
    schedule: { tensors: {}, values: { step: value } },
  },
  values: { epoch: value },
});
const leftovers = (): string[] => readdirSync(folder).filter((name) => name.startsWith('.'));

async function weightOf(path: string): Promise<number> {
  const { statefuls } = await io.openCheckpoint(path);
  return statefuls.get('model')!.tensors.get('weight')!.read().data[0]!;
}

describe('a checkpoint folder', () => {
  it('gives back tensors and values to the last bit, with numbers that JSON has no word for', async () => {
    const path = join(folder, 'checkpoint');
    const values = {
      best: Infinity,
      worst: -Infinity,
      nothing: Number.NaN,
      zero: -0,
      tenth: 0.1,
      list: [1, null, 'a', { b: true }],
    };
    await io.saveCheckpoint(path, { ...content(1), values });
    const opened = await io.openCheckpoint(path);
    expect(opened.values).toEqual(values);
    expect(Object.is(opened.values['zero'], -0)).toBe(true);
    expect([...opened.statefuls.keys()]).toEqual(['model', 'schedule']);
    expect(opened.statefuls.get('model')).toMatchObject({ values: { note: 'x' } });
    expect(await weightOf(path)).toBe(1);
    expect(readdirSync(path).sort()).toEqual(['model.safetensors', 'state.json']);
  });

  it('replaces an older one of the same name and leaves nothing else', async () => {
    const path = join(folder, 'last');
    await io.saveCheckpoint(path, content(1));
    await io.saveCheckpoint(path, content(2));
    expect(await weightOf(path)).toBe(2);
    expect(leftovers()).toEqual([]);
  });

  it('refuses values and names that it cannot hold, and leaves nothing', async () => {
    const path = join(folder, 'checkpoint');
    const save = (values: unknown) => io.saveCheckpoint(path, { statefuls: {}, values: values as never });
    await expect(save({ a: { b: [() => 1] } })).rejects.toMatchObject({
      code: 'MISUSE',
      message: expect.stringMatching(/state\.a\.b\[0\] is function/),
    });
    await expect(save({ when: new Date() })).rejects.toMatchObject({
      code: 'MISUSE',
      message: expect.stringMatching(/state\.when is a Date/),
    });
    await expect(save({ big: 1n })).rejects.toMatchObject({ code: 'MISUSE' });
    await expect(
      io.saveCheckpoint(path, { statefuls: { '../outside': content(1).statefuls['model']! }, values: {} }),
    ).rejects.toMatchObject({ code: 'MISUSE' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is refused when anything in it is missing, shorter, changed, or of another format', async () => {
    const path = join(folder, 'good');
    await io.saveCheckpoint(path, content(1));
    const damaged = async (damage: (copy: string) => void, message: RegExp): Promise<void> => {
      const copy = join(folder, 'damaged');
      rmSync(copy, { recursive: true, force: true });
      cpSync(path, copy, { recursive: true });
      damage(copy);
      await expect(io.openCheckpoint(copy)).rejects.toMatchObject({
        code: 'BAD_CHECKPOINT',
        message: expect.stringMatching(message),
      });
      expect(await isCompleteCheckpoint(copy, true)).toBe(false);
    };
    const edit = (copy: string, change: (text: string) => string): void =>
      writeFileSync(join(copy, 'state.json'), change(readFileSync(join(copy, 'state.json'), 'utf8')));
    const flip = (file: string): void => {
      const bytes = readFileSync(file);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(file, bytes);
    };
    await damaged((copy) => rmSync(copy, { recursive: true }), /no such folder/);
    await damaged((copy) => rmSync(join(copy, 'state.json')), /has no state\.json/);
    await damaged((copy) => rmSync(join(copy, 'model.safetensors')), /model\.safetensors is missing/);
    await damaged((copy) => truncateSync(join(copy, 'model.safetensors'), 20), /has 20 bytes instead of/);
    await damaged((copy) => flip(join(copy, 'model.safetensors')), /does not match its checksum/);
    await damaged((copy) => truncateSync(join(copy, 'state.json'), 100), /not JSON/);
    await damaged((copy) => edit(copy, (text) => text.replace('"epoch": 1', '"epoch": 2')), /changed or damaged/);
    await damaged(
      (copy) => edit(copy, (text) => text.replace('"formatVersion": 2', '"formatVersion": 99')),
      /format version 99.*newer release/,
    );
    await damaged((copy) => edit(copy, () => '{"formatVersion":2}'), /unexpected form/);
    await damaged(
      (copy) => edit(copy, (text) => text.replaceAll('"model.safetensors"', '"../good/model.safetensors"')),
      /names the file "\.\.\/good\/model\.safetensors", which may lie outside/,
    );
    await damaged(
      (copy) => edit(copy, (text) => text.replace('"file": "model.safetensors"', '"file": "other.safetensors"')),
      /does not list other\.safetensors/,
    );
  });
});

describe('writing atomically', () => {
  it('an exception while writing leaves the old file or folder, and no temporary one', async () => {
    const file = join(folder, 'file');
    await writeFileAtomically(file, 'old');
    const failing = async (sink: (chunk: Uint8Array) => Promise<void>): Promise<void> => {
      await sink(new Uint8Array(10));
      throw new Error('midway');
    };
    await expect(writeFileAtomically(file, failing)).rejects.toThrow('midway');
    expect(readFileSync(file, 'utf8')).toBe('old');

    const path = join(folder, 'checkpoint');
    await io.saveCheckpoint(path, content(1));
    const fillAndFail = async (temporary: string): Promise<void> => {
      writeFileSync(join(temporary, 'half'), 'x');
      throw new Error('midway');
    };
    await expect(writeFolderAtomically(path, fillAndFail)).rejects.toThrow('midway');
    expect(await weightOf(path)).toBe(1);
    expect(leftovers()).toEqual([]);
  });

  it('a full disk (injected ENOSPC) says so and leaves the old checkpoint whole', async () => {
    const path = join(folder, 'checkpoint');
    await io.saveCheckpoint(path, content(1));
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const bad = { ...tf.scalar(1), shape: [1], dtype: 'float32', data: () => Promise.reject(full) } as never;
    await expect(
      io.saveCheckpoint(path, { statefuls: { model: { tensors: { bad }, values: {} } }, values: {} }),
    ).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/disk is full.*ENOSPC.*unchanged/),
    });
    expect(await weightOf(path)).toBe(1);
    expect(leftovers()).toEqual([]);
  });

  it('a path that cannot be written says so', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(io.saveCheckpoint(join(folder, 'file', 'checkpoint'), content(1))).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/is a file, not a folder|EEXIST/),
    });
  });

  it('a process that died between the two renames of a replacement loses nothing', async () => {
    const path = join(folder, 'last');
    await io.saveCheckpoint(path, content(1));
    renameSync(path, join(folder, '.last.replaced'));
    expect(await newestCompleteCheckpoint(folder)).toBe(path);
    expect(await weightOf(path)).toBe(1);
    // … or after the second rename, before the old one was removed.
    cpSync(path, join(folder, '.last.replaced'), { recursive: true });
    await io.saveCheckpoint(path, content(2));
    expect(await weightOf(path)).toBe(2);
    expect(leftovers()).toEqual([]);
  });
});

describe('choosing and pruning checkpoints', () => {
  it('the newest complete one is found by number, incomplete ones are passed over', async () => {
    expect(await newestCompleteCheckpoint(join(folder, 'absent'))).toBeNull();
    expect(await newestCompleteCheckpoint(folder)).toBeNull();
    for (const step of [30, 4, 200]) await io.saveCheckpoint(join(folder, `step-${step}`), content(step));
    truncateSync(join(folder, 'step-200', 'model.safetensors'), 3);
    mkdirSync(join(folder, 'step-900'));
    cpSync(join(folder, 'step-4'), join(folder, '.step-1000.tmp-1-ab'), { recursive: true });
    expect(await newestCompleteCheckpoint(folder)).toBe(join(folder, 'step-30'));
    expect(await completeCheckpoints(folder)).toEqual(['step-30', 'step-4'].map((name) => join(folder, name)));
  });

  it('keeps the newest N and never removes the only complete one', async () => {
    for (const step of [1, 2, 3]) await io.saveCheckpoint(join(folder, `step-${step}`), content(step));
    truncateSync(join(folder, 'step-3', 'model.safetensors'), 3);
    expect(await pruneCheckpoints(folder, 1)).toEqual([join(folder, 'step-1')]);
    expect(await pruneCheckpoints(folder, 1)).toEqual([]);
    expect(existsSync(join(folder, 'step-2'))).toBe(true);
    await expect(pruneCheckpoints(folder, 0)).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('removes what writers that died left, not what a living one is writing', async () => {
    await io.saveCheckpoint(join(folder, 'step-1'), content(1));
    mkdirSync(join(folder, '.step-2.tmp-999999999-abcd'));
    mkdirSync(join(folder, `.step-3.tmp-${process.pid}-abcd`));
    copyFileSync(join(folder, 'step-1', 'state.json'), join(folder, 'notes.txt'));
    await pruneCheckpoints(folder, 5);
    expect(readdirSync(folder).sort()).toEqual([`.step-3.tmp-${process.pid}-abcd`, 'notes.txt', 'step-1']);
  });
});

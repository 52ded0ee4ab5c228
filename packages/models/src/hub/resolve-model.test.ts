import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeHub, fakeCommit } from './fake-hub.test-helper.ts';
import { resolveModel } from './resolve-model.ts';
import type { HubOptions } from './snapshot.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tensorloom-hub-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('resolveModel, without the hub', () => {
  it('knows presets', async () => {
    expect(await resolveModel('bloom-tiny')).toMatchObject({ kind: 'preset', preset: { name: 'bloom-tiny' } });
  });

  it('takes a folder with a config.json', async () => {
    writeFileSync(join(folder, 'config.json'), '{}');
    expect(await resolveModel(folder)).toEqual({ kind: 'folder', folder });
  });

  it('suggests the nearest preset for a name without a slash', async () => {
    await expect(resolveModel('bloom-tinny')).rejects.toThrow(
      /Unknown model 'bloom-tinny'\. Did you mean 'bloom-tiny'\?.*bigscience\/bloom-560m/,
    );
  });

  it('says what is wrong with a folder', async () => {
    mkdirSync(join(folder, 'empty'));
    await expect(resolveModel(join(folder, 'empty'))).rejects.toThrow(
      /is there but is not a model folder: it has no config\.json/,
    );
    await expect(resolveModel(join(folder, 'none'))).rejects.toThrow(/There is no model folder/);
    await expect(resolveModel('./none')).rejects.toThrow(/There is no model folder/);
  });
});

describe('resolveModel, with a hub', () => {
  const weights = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) % 251));
  const files = {
    'config.json': Buffer.from('{"model_type":"bloom"}'),
    'tokenizer.json': Buffer.from('{}'),
    'model.safetensors': weights,
    'pytorch_model.bin': Buffer.from('not needed'),
    'README.md': Buffer.from('not needed'),
  };
  let hub: FakeHub;
  let options: HubOptions;
  const start = async (contents: Readonly<Record<string, Buffer>> = files): Promise<void> => {
    hub = new FakeHub('owner/model', contents, ['model.safetensors', 'model-1.safetensors', 'model-2.safetensors']);
    options = { hubUrl: await hub.start(), cacheFolder: folder };
  };
  afterEach(() => hub.stop());

  it('downloads only the needed files into the layout of the cache', async () => {
    await start();
    const progress: number[] = [];
    const resolved = await resolveModel('owner/model', {
      ...options,
      onProgress: ({ file, bytes }) => file === 'model.safetensors' && progress.push(bytes),
    });
    const snapshot = join(folder, 'models--owner--model', 'snapshots', fakeCommit);
    expect(resolved).toEqual({ kind: 'hub', id: 'owner/model', folder: snapshot, commit: fakeCommit });
    expect(readFileSync(join(snapshot, 'model.safetensors'))).toEqual(weights);
    expect(readlinkSync(join(snapshot, 'model.safetensors'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    expect(readFileSync(join(folder, 'models--owner--model', 'refs', 'main'), 'utf8')).toBe(fakeCommit);
    expect(hub.downloads.map(({ path }) => path)).toEqual(['config.json', 'tokenizer.json', 'model.safetensors']);
    expect(progress.at(-1)).toBe(weights.length);
  });

  it('a cache that cannot be written to is no matter of the network', async () => {
    await start();
    writeFileSync(join(folder, 'file'), '');
    const resolving = resolveModel('owner/model', { ...options, cacheFolder: join(folder, 'file', 'hub') });
    await expect(resolving).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/ENOTDIR.*Set HF_HUB_CACHE to a folder that you can write to/) as string,
    });
  });

  it('does not download again, and works from the cache when the hub is gone', async () => {
    await start();
    const first = await resolveModel('owner/model', options);
    const before = hub.downloads.length;
    expect(await resolveModel('owner/model', options)).toEqual(first);
    expect(hub.downloads).toHaveLength(before);
    await hub.stop();
    expect(await resolveModel('owner/model', options)).toEqual(first);
    expect(await resolveModel('owner/model', { ...options, offline: true })).toEqual(first);
    expect(await resolveModel(`owner/model@${fakeCommit}`, options)).toEqual(first);
  });

  it('goes on where a cut download stopped', async () => {
    await start();
    hub.cutOnceAfter = { path: 'model.safetensors', bytes: 100_000 };
    await expect(resolveModel('owner/model', options)).rejects.toMatchObject({ code: 'OFFLINE' });
    const resolved = await resolveModel('owner/model', options);
    expect(readFileSync(join((resolved as { folder: string }).folder, 'model.safetensors'))).toEqual(weights);
    const ranges = hub.downloads.filter(({ path }) => path === 'model.safetensors').map(({ range }) => range);
    expect(ranges).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-299999$/)]);
  });

  it('refuses and removes what arrived with another hash', async () => {
    await start();
    hub.corrupt = 'model.safetensors';
    await expect(resolveModel('owner/model', options)).rejects.toThrow(
      /model\.safetensors of owner\/model arrived broken/,
    );
    hub.corrupt = undefined;
    await expect(resolveModel('owner/model', options)).resolves.toMatchObject({ kind: 'hub' });
  });

  it('downloads the shards that an index names', async () => {
    const index = { metadata: {}, weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' } };
    await start({
      'config.json': Buffer.from('{}'),
      'model.safetensors.index.json': Buffer.from(JSON.stringify(index)),
      'model-1.safetensors': Buffer.from('one'),
      'model-2.safetensors': Buffer.from('two'),
      'model-3.safetensors': Buffer.from('not needed'),
    });
    await resolveModel('owner/model', options);
    expect(hub.downloads.map(({ path }) => path)).toEqual([
      'config.json',
      'model.safetensors.index.json',
      'model-1.safetensors',
      'model-2.safetensors',
    ]);
  });

  it('never leaves its folder, whatever an index says', async () => {
    const index = { weight_map: { a: '../../../evil.safetensors' } };
    await start({
      'config.json': Buffer.from('{}'),
      'model.safetensors.index.json': Buffer.from(JSON.stringify(index)),
    });
    await expect(resolveModel('owner/model', options)).rejects.toThrow(/a shard must be a file beside the index/);
  });

  it('two at once share a cache', async () => {
    await start();
    const both = await Promise.all([resolveModel('owner/model', options), resolveModel('owner/model', options)]);
    expect(both[0]).toEqual(both[1]);
    const weightsPath = join(folder, 'models--owner--model', 'snapshots', fakeCommit, 'model.safetensors');
    expect(readFileSync(weightsPath).equals(weights)).toBe(true);
    const blobs = readdirSync(join(folder, 'models--owner--model', 'blobs'));
    expect(blobs.filter((name) => !/^[0-9a-f]+$/.test(name))).toEqual([]);
  });

  it('refuses a revision that climbs, and a cache that is a file', async () => {
    await start();
    await expect(resolveModel('owner/model@../../../x', options)).rejects.toMatchObject({ code: 'BAD_OPTION' });
    writeFileSync(join(folder, 'file'), '');
    await expect(resolveModel('owner/model', { ...options, cacheFolder: join(folder, 'file') })).rejects.toMatchObject({
      code: 'IO',
    });
  });

  it('says so if the model has no safetensors, does not exist, or the hub cannot be reached', async () => {
    await start({ 'config.json': Buffer.from('{}'), 'pytorch_model.bin': Buffer.from('x') });
    await expect(resolveModel('owner/model', options)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(resolveModel('owner/other', options)).rejects.toThrow(
      /The hub has no model 'owner\/other' at revision 'main' \(and there is no such folder\)/,
    );
    await hub.stop();
    const error: unknown = await resolveModel('owner/model', options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'OFFLINE' });
    expect((error as Error).message).toMatch(/give its folder/);
    await expect(resolveModel('owner/model', { ...options, offline: true })).rejects.toThrow(/HF_HUB_OFFLINE is set/);
  });
});

/** The file that ranks map: found by the others, guarded by the token, replaced if its maker is dead, and gone in the end. */
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { segmentSizes } from '../slots/layout.ts';
import { openShared, removeShared, sharedFilePath, type SharedFileRequest } from './shared-file.ts';
import { shmUnavailable } from './shm-transport.ts';

const missing = shmUnavailable();
if (missing !== null) console.log(`Shared memory is not tested: ${missing}.`);

const jobId = `test-shared-file-${process.pid}`;
const sizes = segmentSizes(2, 4096);
const first: SharedFileRequest = { jobId, id: '', token: 'secret', rank: 0, sizes, timeoutMs: 200 };
const second: SharedFileRequest = { ...first, rank: 1 };
const file = sharedFilePath(jobId, '');

afterEach(() => {
  removeShared(file);
});

describe.runIf(missing === null)('openShared', () => {
  it('gives two ranks the same memory, which nobody else may read', async () => {
    const a = await openShared(first);
    const b = await openShared(second);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    removeShared(a.path);
    new Int32Array(a.mapping.buffer)[100] = 42;
    expect(new Int32Array(b.mapping.buffer)[100]).toBe(42);
    expect(existsSync(file)).toBe(false);
    a.mapping.unmap();
    b.mapping.unmap();
  });

  it('lets nobody sleep for ever, nor on a word that has changed', async () => {
    const { mapping } = await openShared(first);
    mapping.wait(100, 0, 30);
    // Another value than expected: no sleep at all.
    mapping.wait(100, 1, 60_000);
    mapping.wake(100);
    expect(new Int32Array(mapping.buffer)[100]).toBe(0);
    mapping.unmap();
  });

  it('refuses another token and another world size', async () => {
    const { mapping } = await openShared(first);
    await expect(openShared({ ...second, token: 'guess' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('another token') as string,
    });
    await expect(openShared({ ...second, sizes: segmentSizes(3, 4096) })).rejects.toThrow(
      /made for 2 ranks; rank 1 was told there are 3/,
    );
    mapping.unmap();
  });

  it('says whom it waited for', async () => {
    await expect(openShared(second)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('Rank 0') as string,
    });
  });

  it('refuses a second job with the id of one that is starting', async () => {
    const { mapping } = await openShared(first);
    await expect(openShared(first)).rejects.toThrow(/an id of its own/);
    mapping.unmap();
  });

  it('replaces what a job that was killed while it started has left', async () => {
    writeFileSync(file, new Uint8Array(4096), { mode: 0o600 });
    const { mapping } = await openShared(first);
    const b = await openShared(second);
    expect(new Int32Array(b.mapping.buffer)[1]).toBe(2);
    mapping.unmap();
    b.mapping.unmap();
  });

  it('tells how to make /dev/shm larger where it is too small', async () => {
    await expect(
      openShared({ ...first, sizes: { worldSize: 2, slotBytes: 2 ** 50, mailBytes: 4096 } }),
    ).rejects.toThrow(/--shm-size/);
    expect(existsSync(file)).toBe(false);
  });
});

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { tf } from '../tensors.ts';
import { CheckpointFolderIO } from './checkpoint-folder.ts';
import { newestCompleteCheckpoint } from './retention.ts';

const io = new CheckpointFolderIO();
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tensorloom-crash-'));
  folders.push(folder);
  return folder;
}

/** Starts a writer of that many ranks, kills it with SIGKILL `delayMs` after its `saves`-th checkpoint, and returns the last number it told. */
async function killedWriter(path: string, worldSize: number, saves: number, delayMs: number): Promise<number> {
  const script = fileURLToPath(new URL('./writer.testing.ts', import.meta.url));
  const child = spawn(
    process.execPath,
    ['--conditions=@tensorloom/source', '--import', 'tsx', script, path, String(worldSize)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let last = 0;
  let timer: NodeJS.Timeout | undefined;
  child.stdout.on('data', (chunk: Buffer) => {
    last = Number(chunk.toString().trim().split('\n').at(-1));
    if (last >= saves) timer ??= setTimeout(() => child.kill('SIGKILL'), delayMs);
  });
  const signal = await new Promise((done) => child.once('close', (_code, killedBy) => done(killedBy)));
  expect(signal).toBe('SIGKILL');
  return last;
}

describe('a process killed with SIGKILL while saving', () => {
  it.each([
    [1, 0],
    [1, 3],
    [1, 7],
    [1, 12],
    [1, 18],
    [3, 2],
    [3, 10],
    [3, 25],
    [3, 45],
  ])(
    'leaves a whole checkpoint, the newest told or a later one (%d ranks, %d ms after a save)',
    async (ranks, delayMs) => {
      const folder = newFolder();
      const path = join(folder, 'last');
      const told = await killedWriter(path, ranks, 2, delayMs);
      expect(await newestCompleteCheckpoint(folder)).toBe(path);
      const { statefuls, values } = await io.openCheckpoint(path);
      expect(values['number']).toBeGreaterThanOrEqual(told);
      for (const tensor of statefuls.get('model')!.tensors.values()) {
        expect(tensor.shape).toEqual([100_000 * ranks]);
        expect(new Set(tensor.read().data)).toEqual(new Set([values['number']]));
      }
      // The next save works in spite of what the dead process left.
      await io.saveCheckpoint(path, { statefuls: {}, values: { number: -1 } });
      expect((await io.openCheckpoint(path)).values).toEqual({ number: -1 });
    },
  );
});

describe('a disk that is really full', () => {
  it('leaves the old checkpoint whole and says what is wrong', async ({ skip }) => {
    const mountPoint = join(newFolder(), 'small');
    mkdirSync(mountPoint);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mountPoint], { stdio: 'ignore' });
    } catch {
      console.log(
        'a small tmpfs cannot be mounted here (not root?): the full disk is tested by an injected error only',
      );
      skip();
    }
    try {
      const path = join(mountPoint, 'last');
      const content = (size: number) => ({
        statefuls: { model: { tensors: { weight: tf.ones([size]) }, values: {} } },
        values: {},
      });
      await io.saveCheckpoint(path, content(100_000));
      await expect(io.saveCheckpoint(path, content(200_000))).rejects.toMatchObject({
        code: 'IO',
        message: expect.stringMatching(/disk is full.*ENOSPC/),
      });
      expect((await io.openCheckpoint(path)).statefuls.get('model')!.tensors.get('weight')!.shape).toEqual([100_000]);
      expect(readdirSync(mountPoint)).toEqual(['last']);
    } finally {
      execFileSync('umount', [mountPoint]);
    }
  });
});

/** A checkpoint as a folder: `state.json` and safetensors files, written atomically by all ranks at once, checked before use. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { ProcessGroup } from '../distributed/process-group.ts';
import { TensorloomError } from '../errors.ts';
import type { JsonObject, StoredState } from '../stateful.ts';
import { beginFolder, explained, recoverFolder, removeFolder, type UnfinishedFolder } from './atomic-write.ts';
import type { CheckpointContent, CheckpointIO, OpenedCheckpoint } from './checkpoint-io.ts';
import { decodeJsonObject, encodeJson } from './json-values.ts';
import { onAllRanks } from './on-all-ranks.ts';
import { checkFile, readState, writeState, type CheckpointState } from './state-file.ts';
import { storedState } from './stored-states.ts';
import { merge, prepare, writePiece, type Piece, type Writer, type WrittenPiece } from './write-pieces.ts';

/** The default `CheckpointIO`: each checkpoint is a folder, on a file system that all ranks share. */
export class CheckpointFolderIO implements CheckpointIO {
  /**
   * Each rank writes its shards and what is its own (`KEY.rank-0001-of-0004.safetensors`), rank zero also what is shared
   * (`KEY.safetensors`), all at once; when all are done, rank zero adds `state.json` and renames the folder into place.
   * @throws TensorloomError, on all ranks: `IO` if a rank cannot write, or does not see the folder, `MISUSE` for values that JSON cannot
   *   hold and for ranks whose pieces do not belong together. A checkpoint that was there before stays whole
   */
  async saveCheckpoint(folder: string, content: CheckpointContent, group?: ProcessGroup): Promise<void> {
    const writer = writerOf(group);
    const together = <T>(work: () => Promise<T> | T): Promise<T[]> => onAllRanks(group, `saving ${folder}`, work);
    let values: JsonObject = {};
    let pieces: [string, Piece][] = [];
    let unfinished: UnfinishedFolder | undefined;
    try {
      const [temporary] = await together(async () => {
        values = encodeJson(content.values, 'state') as JsonObject;
        pieces = Object.entries(content.statefuls).map(([key, state]) => [key, prepare(key, state, writer)]);
        if (writer.rank === 0) unfinished = await beginFolder(folder);
        return unfinished?.temporary ?? null;
      });
      const byRank = await together(() => writePieces(folder, temporary as string, pieces, writer));
      await together(async () => {
        if (unfinished === undefined) return;
        const state = { worldSize: writer.worldSize, ...merge(byRank), values };
        await explained(folder, () => writeState(temporary as string, state));
        await unfinished.commit();
      });
    } catch (error) {
      await unfinished?.abandon();
      throw error;
    }
  }

  /**
   * Checks sizes and checksums of every file before anything is handed out; the ranks of a group share out the files among them.
   * In a world of the size that saved it, each rank finds its own where ranks stored their own, else rank zero's.
   * @throws TensorloomError `BAD_CHECKPOINT`, on all ranks, if it is missing, incomplete, corrupted or of a later format
   */
  async openCheckpoint(folder: string, group?: ProcessGroup): Promise<OpenedCheckpoint> {
    const { rank, worldSize } = writerOf(group);
    const together = <T>(work: () => Promise<T> | T): Promise<T[]> => onAllRanks(group, `opening ${folder}`, work);
    await together(() => (rank === 0 ? recoverFolder(folder) : undefined));
    let state: CheckpointState | undefined;
    await together(async () => {
      state = await readState(folder);
      const files = Object.entries(state.files).filter((_, index) => index % worldSize === rank);
      await Promise.all(files.map(([file, record]) => checkFile(join(folder, file), record)));
    });
    const { statefuls, values, worldSize: writers } = state as unknown as CheckpointState;
    const opened = new Map<string, StoredState>();
    await together(() => {
      for (const [key, record] of Object.entries(statefuls))
        opened.set(key, storedState(folder, key, record, writers === worldSize ? rank : 0));
    });
    return { statefuls: opened, values: decodeJsonObject(values) };
  }

  async removeCheckpoint(folder: string): Promise<void> {
    if (existsSync(folder)) await removeFolder(folder);
  }
}

/** Whether `folder` holds a whole checkpoint; `thorough` reads every byte, else sizes are compared. */
export async function isCompleteCheckpoint(folder: string, thorough = false): Promise<boolean> {
  try {
    const { files } = await readState(folder);
    for (const [file, record] of Object.entries(files)) {
      if (thorough) await checkFile(join(folder, file), record);
      else if ((await stat(join(folder, file))).size !== record.bytes) return false;
    }
    return true;
  } catch {
    return false;
  }
}

function writerOf(group: ProcessGroup | undefined): Writer {
  return { rank: group?.rank ?? 0, worldSize: group?.worldSize ?? 1 };
}

/** All of one rank's files. @throws TensorloomError `IO` */
async function writePieces(
  folder: string,
  temporary: string,
  pieces: readonly (readonly [string, Piece])[],
  writer: Writer,
): Promise<Record<string, WrittenPiece>> {
  if (!existsSync(temporary))
    throw new TensorloomError(
      'IO',
      `${hostname()} does not see ${temporary}, which rank 0 has just made: checkpoints of several ranks go to a folder that all hosts share. Give one, such as a network file system.`,
    );
  return explained(folder, async () => {
    const written: Record<string, WrittenPiece> = {};
    for (const [key, piece] of pieces) written[key] = await writePiece(temporary, key, piece, writer);
    return written;
  });
}

/** The whole of a sharded module for rank zero to read, tensor by tensor: the other ranks serve what it asks for. */
import { HostTensor, TensorloomError, type ProcessGroup, type StoredState, type StoredTensor } from '@tensorloom/core';
import type { Piece } from './piece.ts';

/** In place of a piece's index. */
const ENDED = -1;
const FAILED = -2;

/**
 * Runs `write` on rank zero with a view of all of `pieces`' whole values. All ranks call it.
 * @throws TensorloomError what `write` throws on rank zero, and its message on the others
 */
export async function withWholePieces<T>(
  group: ProcessGroup,
  pieces: readonly Piece[],
  write: (state: StoredState) => Promise<T>,
): Promise<T | undefined> {
  if (group.rank !== 0) {
    await serve(group, pieces);
    return undefined;
  }
  let isOpen = true;
  const read = (piece: Piece, from: number, to: number): Float32Array => {
    if (!isOpen)
      throw new TensorloomError(
        'MISUSE',
        `Tensor ${piece.parameter.name} was read after withWholeModule had ended. Read it before the function given to it returns.`,
      );
    group.broadcast(Int32Array.of(piece.index, from, to), 0).waitSync();
    return gatherAtZero(group, piece, from, to) as Float32Array;
  };
  const tensors = new Map(pieces.map((piece) => [piece.parameter.name, storedPiece(piece, read)]));
  let result: T;
  try {
    result = await write({ tensors, values: {} });
  } catch (error) {
    isOpen = false;
    await group.broadcast(Int32Array.of(FAILED, 0, 0), 0);
    await group.broadcastObject(tell(error), 0);
    throw error;
  }
  isOpen = false;
  await group.broadcast(Int32Array.of(ENDED, 0, 0), 0);
  return result;
}

async function serve(group: ProcessGroup, pieces: readonly Piece[]): Promise<void> {
  for (;;) {
    const request = new Int32Array(3);
    await group.broadcast(request, 0);
    const [index, from, to] = request as unknown as [number, number, number];
    if (index === ENDED) return;
    if (index === FAILED) {
      const { code, message } = await group.broadcastObject<ReturnType<typeof tell>>({ code: 'IO', message: '' }, 0);
      throw new TensorloomError(code, `Rank 0 failed: ${message}`);
    }
    gatherAtZero(group, pieces[index] as Piece, from, to);
  }
}

function tell(error: unknown): { code: TensorloomError['code']; message: string } {
  return {
    code: error instanceof TensorloomError ? error.code : 'IO',
    message: error instanceof Error ? error.message : String(error),
  };
}

/** Rows `from` to `to` on rank zero; null on the others. */
function gatherAtZero(group: ProcessGroup, piece: Piece, from: number, to: number): Float32Array | null {
  const { partition } = piece;
  const { rowSize } = partition;
  const partOf = (rank: number): [number, number] => {
    const first = partition.firstRow(rank);
    const clip = (row: number): number => Math.min(Math.max(row - first, 0), partition.rowsOf(rank));
    return [clip(from), clip(to)];
  };
  const counts = Array.from({ length: group.worldSize }, (_, rank) => {
    const [start, end] = partOf(rank);
    return (end - start) * rowSize;
  });
  const [start, end] = partOf(group.rank);
  const own = piece.shardData().subarray(start * rowSize, end * rowSize);
  const all = group.rank === 0 ? new Float32Array((to - from) * rowSize) : null;
  group.gather(own, all, 0, counts).waitSync();
  return all;
}

function storedPiece(piece: Piece, read: (piece: Piece, from: number, to: number) => Float32Array): StoredTensor {
  const { shape, numRows } = piece.partition;
  return {
    shape,
    read: () => new HostTensor(read(piece, 0, numRows), shape),
    readRows: (from, to) => {
      if (shape.length === 0 || !(from >= 0 && from <= to && to <= numRows))
        throw new TensorloomError(
          'BAD_OPTION',
          `readRows(${from}, ${to}) of ${piece.parameter.name}, which is of shape [${shape.join(', ')}].`,
        );
      return new HostTensor(read(piece, from, to), [to - from, ...shape.slice(1)]);
    },
  };
}

/** What the main thread and the communication thread tell each other. */
import type { MessagePort } from 'node:worker_threads';
import {
  TensorloomError,
  viewOf,
  type CollectiveArray,
  type ElementType,
  type ErrorCode,
} from '@tensorloom/core/distributed';
import type { CollectiveCall } from '../collective-call.ts';
import type { KernelMemory } from '../simd/kernel-memory.ts';
import type { TransportRequest } from '../transport.ts';

/** Names of the modules in `media.ts`. */
export type Medium = 'shm' | 'ws' | 'mpi' | 'hierarchical' | 'sharing';

/** What the thread is started with. */
export interface ThreadData {
  readonly medium: Medium;
  readonly request: TransportRequest;
  readonly control: SharedArrayBuffer;
  readonly trace: boolean;
  readonly port: MessagePort;
}

/** Indices of the int32 words of `control`. */
export const CONTROL = {
  /** Requests that are done, well or badly; they end in the order of their numbers. */
  completed: 0,
  /** Error messages that were posted. They are posted before the request counts as completed. */
  errors: 16,
  /** 1 once the thread has ended. */
  ended: 17,
  words: 32,
} as const;

/** A piece of shared memory that both threads know by number; `buffer` comes with its first use. */
export interface SharedPiece {
  readonly buffer: number;
  readonly byteOffset: number;
  readonly length: number;
}

export type PostedCall = Omit<CollectiveCall, 'input' | 'output'> & {
  readonly input: SharedPiece | null;
  readonly output: SharedPiece | null;
};

export type ToThread =
  | { readonly type: 'buffer'; readonly id: number; readonly memory: SharedArrayBuffer | KernelMemory }
  | { readonly type: 'forget'; readonly id: number }
  | { readonly type: 'call'; readonly group: string; readonly call: PostedCall }
  | { readonly type: 'split'; readonly group: string; readonly ranks: readonly number[]; readonly id: string }
  | { readonly type: 'close'; readonly group: string }
  | { readonly type: 'abort'; readonly group: string; readonly reason: string }
  | { readonly type: 'trace' };

/** One finished collective, for a trace of what ran when. Times in milliseconds since the epoch. */
export interface TracedCall {
  readonly call: string;
  readonly startMs: number;
  readonly endMs: number;
}

export type FromThread =
  | { readonly type: 'ready'; readonly name: string }
  | { readonly type: 'refused'; readonly error: PostedError }
  | { readonly type: 'error'; readonly sequence: number; readonly error: PostedError }
  | { readonly type: 'trace'; readonly calls: readonly TracedCall[] };

export interface PostedError {
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly stack: string | undefined;
}

export function postedError(error: unknown): PostedError {
  if (!(error instanceof Error)) return { code: undefined, message: String(error), stack: undefined };
  return {
    code: error instanceof TensorloomError ? error.code : undefined,
    message: error.message,
    stack: error.stack,
  };
}

/** The error that it was, as far as can be: TensorloomErrors keep their code. */
export function revivedError(posted: PostedError): Error {
  if (posted.code !== undefined) return new TensorloomError(posted.code, posted.message);
  const error = new Error(`The communication thread failed: ${posted.message}`);
  if (posted.stack !== undefined) error.stack = posted.stack;
  return error;
}

export function pieceView(type: ElementType, memory: SharedArrayBuffer, piece: SharedPiece): CollectiveArray {
  return viewOf(type, memory, piece.byteOffset, piece.length);
}

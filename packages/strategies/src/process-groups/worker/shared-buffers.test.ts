/** What the communication thread is told of shared memory. */
import { describe, expect, it } from 'vitest';
import type { ToThread } from './protocol.ts';
import { SharedBuffers } from './shared-buffers.ts';

function buffersWithLog(): { readonly buffers: SharedBuffers; readonly told: ToThread[] } {
  const told: ToThread[] = [];
  return { buffers: new SharedBuffers((message) => void told.push(message)), told };
}

describe('SharedBuffers', () => {
  it('tells of each buffer once', () => {
    const { buffers, told } = buffersWithLog();
    const memory = buffers.allocate(4000);
    expect(memory.byteLength).toBe(4000);
    const first = buffers.pieceOf(new Float32Array(memory, 40, 10));
    expect(first).toEqual({ buffer: first.buffer, byteOffset: 40, length: 10 });
    expect(buffers.pieceOf(new Float32Array(memory)).buffer).toBe(first.buffer);
    expect(told).toEqual([{ type: 'buffer', id: first.buffer, memory }]);
  });

  it('hands on large ones with what kernels need; those of others it does not, whose thread reads into them', () => {
    const { buffers, told } = buffersWithLog();
    const other = buffersWithLog();
    const memory = buffers.allocate(3_000_000);
    expect(memory.byteLength).toBeGreaterThanOrEqual(3_000_000);
    buffers.pieceOf(new Uint8Array(memory));
    other.buffers.pieceOf(new Uint8Array(memory));
    const [own] = told as Extract<ToThread, { readonly type: 'buffer' }>[];
    expect(own?.memory).not.toBeInstanceOf(SharedArrayBuffer);
    expect((own?.memory as { readonly buffer: unknown }).buffer).toBe(memory);
    expect(other.told).toMatchObject([{ type: 'buffer', memory }]);
  });
});

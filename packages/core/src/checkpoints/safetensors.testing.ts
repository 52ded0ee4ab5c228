/** For tests of the safetensors format: files made by hand, in a folder that is removed at the end. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import type { HostTensor } from '../host-tensor.ts';
import { openSafetensors } from './safetensors.ts';

export const folder = mkdtempSync(join(tmpdir(), 'tensorloom-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
export const newPath = (): string => join(folder, `${files++}.safetensors`);

/** A file with this header text (or bytes) and data. */
export function file(
  header: string | Uint8Array,
  data: Uint8Array = new Uint8Array(0),
  claimedLength?: bigint,
): string {
  const bytes = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, claimedLength ?? BigInt(bytes.length), true);
  const path = newPath();
  writeFileSync(path, Buffer.concat([prefix, bytes, data]));
  return path;
}

export const entry = (dtype: string, shape: number[], begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

export function refused(path: string, message: RegExp): void {
  expect(() => openSafetensors(path)).toThrow(
    expect.objectContaining({ code: 'BAD_FILE', message: expect.stringMatching(message) }),
  );
}

export function read(path: string, name: string): HostTensor {
  const opened = openSafetensors(path);
  try {
    return opened.tensors.get(name)!.read();
  } finally {
    opened.close();
  }
}

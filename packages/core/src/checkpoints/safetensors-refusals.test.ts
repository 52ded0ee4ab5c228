import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openSafetensors } from './safetensors.ts';
import { entry, file, folder, newPath, refused } from './safetensors.testing.ts';

describe('refusing bad files', () => {
  const four = new Uint8Array(4);

  it('that are too short or truncated', () => {
    const path = newPath();
    writeFileSync(path, 'short');
    refused(path, /5 bytes, fewer than the 8/);
    refused(file('{}', four, 50n), /claims 50 bytes, but only 6 follow/);
    refused(file(JSON.stringify({ x: entry('F32', [2], 0, 8) }), four), /ends at byte 8 of 4: the file is truncated/);
    expect(() => openSafetensors(join(folder, 'absent'))).toThrow(
      expect.objectContaining({ code: 'IO', message: expect.stringMatching(/does not exist/) }),
    );
  });

  it('whose header is huge, before memory is taken for it', () => {
    refused(file('{}', four, 2n ** 63n), /claims 9223372036854775808 bytes, more than the 100000000 allowed/);
    refused(file('', four, 0n), /empty/);
  });

  it('whose header is no JSON object of tensors', () => {
    refused(file('[]'), /does not start with '\{'/);
    refused(file('{"x":'), /not JSON/);
    refused(file(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)), /not UTF-8/);
    refused(file('{"x":3}'), /entry of 'x' is not an object/);
    refused(file('{"__metadata__":{"a":1}}'), /__metadata__ is not a map of strings/);
    refused(file(JSON.stringify({ x: { ...entry('F32', [1], 0, 4), extra: 1 } }), four), /unknown field 'extra'/);
    refused(file(JSON.stringify({ x: entry('F33', [1], 0, 4) }), four), /dtype "F33"; known are/);
    refused(file(JSON.stringify({ x: entry('toString', [1], 0, 4) }), four), /dtype "toString"/);
  });

  it('that give a name twice, in any place', () => {
    const x = JSON.stringify(entry('F32', [1], 0, 4));
    refused(file(`{"x":${x},"x":${x}}`, four), /gives a name twice/);
    refused(file(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"dtype":"I32"}}`, four), /gives a name twice/);
    refused(file(`{"x":${x},"\\u0078":${x}}`, four), /gives a name twice/);
  });

  it('whose offsets lie', () => {
    refused(file(JSON.stringify({ x: entry('F32', [1], 4, 0) }), four), /end before they begin/);
    refused(file(JSON.stringify({ x: entry('F32', [1], 0, 400) }), four), /ends at byte 400 of 4/);
    refused(file(JSON.stringify({ x: entry('F32', [1], -4, 0) }), four), /not two offsets/);
    refused(file(JSON.stringify({ x: entry('F32', [1], 0, 1e300) }), four), /not two offsets/);
    refused(file(JSON.stringify({ x: entry('F32', [1], 0.5, 4.5) }), four), /not two offsets/);
  });

  it('whose tensors overlap, leave gaps, or leave bytes over', () => {
    const eight = new Uint8Array(8);
    refused(
      file(JSON.stringify({ a: entry('F32', [2], 0, 8), b: entry('F32', [1], 4, 8) }), eight),
      /'b' overlaps 'a'/,
    );
    refused(file(JSON.stringify({ a: entry('F32', [1], 4, 8) }), eight), /gap of 4 bytes before 'a'/);
    refused(file(JSON.stringify({ a: entry('F32', [1], 0, 4) }), eight), /4 bytes at its end belong to no tensor/);
  });

  it('whose shape and dtype do not fit the bytes', () => {
    refused(
      file(JSON.stringify({ x: entry('F32', [2], 0, 4) }), four),
      /\[2\] and dtype F32 takes 8 bytes, but data_offsets give 4/,
    );
    refused(file(JSON.stringify({ x: entry('F32', [-1], 0, 4) }), four), /shape of 'x'/);
    refused(file(JSON.stringify({ x: entry('F32', [2 ** 40, 2 ** 40], 0, 4) }), four), /takes 4.*e\+24 bytes/);
  });

  it('and any file at random, without ever crashing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const path = join(folder, 'fuzz');
        writeFileSync(path, bytes);
        expect(() => openSafetensors(path)).toThrow(expect.objectContaining({ code: 'BAD_FILE' }));
      }),
    );
  });

  it('reading after close says so', () => {
    const opened = openSafetensors(file(JSON.stringify({ x: entry('F32', [1], 0, 4) }), four));
    opened.close();
    opened.close();
    expect(() => opened.tensors.get('x')!.read()).toThrow(expect.objectContaining({ code: 'MISUSE' }));
  });
});

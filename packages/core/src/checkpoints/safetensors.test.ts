import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostTensor } from '../host-tensor.ts';
import { tf } from '../tensors.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';
import { entry, file, folder, newPath } from './safetensors.testing.ts';

describe('writing', () => {
  it('round-trips tensors and metadata to the last bit', async () => {
    const path = newPath();
    const values = [0, -0, 1.5, -3.4e38, 1e-45, Infinity, -Infinity, Number.NaN];
    const tensors = {
      'b.weight': tf.tensor2d(values, [2, 4]),
      a: tf.tensor1d([1, -2147483648], 'int32'),
      flag: tf.tensor1d([1, 0, 1], 'bool'),
      scalar: tf.scalar(2),
    };
    await writeSafetensors(path, tensors, { format: 'pt' });
    const opened = openSafetensors(path);
    expect(opened.metadata).toEqual({ format: 'pt' });
    expect([...opened.tensors.keys()]).toEqual(['b.weight', 'scalar', 'a', 'flag']);
    const weight = opened.tensors.get('b.weight')!;
    expect([weight.dtype, weight.shape]).toEqual(['F32', [2, 4]]);
    expect([...weight.read().data].map((x, i) => Object.is(x, Math.fround(values[i]!)))).toEqual(
      values.map(() => true),
    );
    expect([...opened.tensors.get('a')!.read().data]).toEqual([1, -2147483648]);
    expect([...opened.tensors.get('flag')!.read().data]).toEqual([1, 0, 1]);
    expect(opened.tensors.get('scalar')!.shape).toEqual([]);
    opened.close();
  });

  it('lays files out as the reference implementation does', async () => {
    // Its order is by dtype, then name; its header is padded with spaces to a multiple of 8.
    const path = newPath();
    await writeSafetensors(
      path,
      { a: new HostTensor(Int32Array.of(7), [1]), b: new HostTensor(Float32Array.of(1, 2), [2]) },
      { format: 'pt' },
    );
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE(0));
    expect(length % 8).toBe(0);
    expect(
      bytes
        .subarray(8, 8 + length)
        .toString()
        .trimEnd(),
    ).toBe(
      '{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"I32","shape":[1],"data_offsets":[8,12]}}',
    );
    expect([
      ...new Float32Array(bytes.buffer.slice(bytes.byteOffset + 8 + length, bytes.byteOffset + 16 + length)),
    ]).toEqual([1, 2]);
  });

  it('keeps any name, also those that JavaScript objects treat in their own way', async () => {
    const path = newPath();
    const names = ['10', '9', '__proto__', 'ä"\\', ''];
    await writeSafetensors(
      path,
      Object.fromEntries(names.map((name) => [name, new HostTensor(Float32Array.of(name.length), [1])])),
    );
    const opened = openSafetensors(path);
    expect(new Set(opened.tensors.keys())).toEqual(new Set(names));
    opened.close();
  });

  it('refuses reserved names and dtypes that the format lacks, and leaves no file', async () => {
    const path = newPath();
    await expect(writeSafetensors(path, { __metadata__: tf.scalar(1) })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await expect(writeSafetensors(path, { text: tf.tensor1d(['a']) })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    expect(readdirSync(folder).filter((name) => path.endsWith(name) || name.includes('tmp'))).toEqual([]);
  });

  it('round-trips any set of shapes', async () => {
    const shape = fc.array(fc.nat({ max: 4 }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(
          fc.string({ minLength: 1 }).filter((name) => !name.startsWith('__')),
          shape,
        ),
        async (shapes) => {
          const path = newPath();
          const tensors = Object.fromEntries(
            Object.entries(shapes).map(([name, dimensions]) => [
              name,
              new HostTensor(
                Float32Array.from({ length: dimensions.reduce((a, b) => a * b, 1) }, (_, i) => i),
                dimensions,
              ),
            ]),
          );
          await writeSafetensors(path, tensors);
          const opened = openSafetensors(path);
          for (const [name, { data, shape: own }] of Object.entries(tensors)) {
            expect(opened.tensors.get(name)!.shape).toEqual(own);
            expect(opened.tensors.get(name)!.read().data).toEqual(data);
          }
          opened.close();
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('reading rows', () => {
  it('gives those of any range, of every width of element, without touching the rest', async () => {
    const path = newPath();
    const floats = Float32Array.from({ length: 15 }, (_, i) => i / 8);
    await writeSafetensors(path, {
      matrix: new HostTensor(floats, [5, 3]),
      cube: new HostTensor(
        Int32Array.from({ length: 8 }, (_, i) => i),
        [2, 2, 2],
      ),
      flags: tf.tensor1d([1, 0, 1], 'bool'),
      empty: new HostTensor(new Float32Array(0), [0, 3]),
      scalar: tf.scalar(2),
    });
    const { tensors, close } = openSafetensors(path);
    const rows = (name: string, from: number, to: number) => tensors.get(name)!.readRows(from, to);
    for (let from = 0; from <= 5; from++)
      for (let to = from; to <= 5; to++)
        expect(rows('matrix', from, to)).toEqual(new HostTensor(floats.slice(from * 3, to * 3), [to - from, 3]));
    expect(rows('cube', 1, 2)).toEqual(new HostTensor(Int32Array.of(4, 5, 6, 7), [1, 2, 2]));
    expect([...rows('flags', 1, 3).data]).toEqual([0, 1]);
    expect(rows('empty', 0, 0).shape).toEqual([0, 3]);
    expect(() => rows('matrix', 4, 6)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    expect(() => rows('scalar', 0, 1)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    close();
    expect(() => rows('matrix', 0, 1)).toThrow(expect.objectContaining({ code: 'MISUSE' }));
  });

  it('reads no byte of other rows', () => {
    // A range of int64 values: the rows outside of it would not fit into int32, and reading them would be refused.
    const data = new BigInt64Array([2n ** 40n, 7n, 8n, 2n ** 40n]);
    const path = file(JSON.stringify({ x: entry('I64', [4], 0, 32) }), new Uint8Array(data.buffer));
    const { tensors, close } = openSafetensors(path);
    expect([...tensors.get('x')!.readRows(1, 3).data]).toEqual([7, 8]);
    expect(() => tensors.get('x')!.readRows(0, 2)).toThrow(/does not fit into int32/);
    close();
  });
});

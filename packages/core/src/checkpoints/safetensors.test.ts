import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostTensor } from '../host-tensor.ts';
import { tf } from '../tensors.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';
import { folder, newPath } from './safetensors.testing.ts';

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

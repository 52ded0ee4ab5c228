import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { HostTensor } from '../host-tensor.ts';
import { tf } from '../tensors.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'tensorloom-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const newPath = (): string => join(folder, `${files++}.safetensors`);

/** A file with this header text (or bytes) and data. */
function file(header: string | Uint8Array, data: Uint8Array = new Uint8Array(0), claimedLength?: bigint): string {
  const bytes = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, claimedLength ?? BigInt(bytes.length), true);
  const path = newPath();
  writeFileSync(path, Buffer.concat([prefix, bytes, data]));
  return path;
}

const entry = (dtype: string, shape: number[], begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

function refused(path: string, message: RegExp): void {
  expect(() => openSafetensors(path)).toThrow(
    expect.objectContaining({ code: 'BAD_FILE', message: expect.stringMatching(message) }),
  );
}

function read(path: string, name: string): HostTensor {
  const opened = openSafetensors(path);
  try {
    return opened.tensors.get(name)!.read();
  } finally {
    opened.close();
  }
}

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

describe('reading other dtypes', () => {
  const one = (dtype: string, width: number, fill: (view: DataView) => void, count = 1): string => {
    const data = new Uint8Array(width * count);
    fill(new DataView(data.buffer));
    return file(JSON.stringify({ x: entry(dtype, [count], 0, data.length) }), data);
  };

  it('converts F16, BF16 and F64 to float32', () => {
    const halves = [0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x7c00, 0xfc00, 0x7e00];
    const path = one('F16', 2, (view) => halves.forEach((half, i) => view.setUint16(2 * i, half, true)), halves.length);
    expect([...read(path, 'x').data]).toEqual([
      0,
      -0,
      1,
      -2,
      65504,
      2 ** -24,
      Math.fround(1023 * 2 ** -24),
      Infinity,
      -Infinity,
      Number.NaN,
    ]);
    const brain = one(
      'BF16',
      2,
      (view) => [0x3f80, 0xc049, 0x7f80, 0x0001].forEach((half, i) => view.setUint16(2 * i, half, true)),
      4,
    );
    expect([...read(brain, 'x').data]).toEqual([1, -3.140625, Infinity, Math.fround(9.183549615799121e-41)]);
    expect([
      ...read(
        one('F64', 8, (view) => view.setFloat64(0, Math.PI, true)),
        'x',
      ).data,
    ]).toEqual([Math.fround(Math.PI)]);
  });

  it('converts integers and booleans to int32, and refuses what does not fit', () => {
    expect(
      read(
        one('I64', 8, (view) => view.setBigInt64(0, -5n, true)),
        'x',
      ),
    ).toMatchObject({ dtype: 'int32', data: Int32Array.of(-5) });
    expect([
      ...read(
        one('U8', 1, (view) => view.setUint8(0, 255)),
        'x',
      ).data,
    ]).toEqual([255]);
    expect([
      ...read(
        one('I8', 1, (view) => view.setInt8(0, -1)),
        'x',
      ).data,
    ]).toEqual([-1]);
    expect([
      ...read(
        one('BOOL', 1, (view) => view.setUint8(0, 1)),
        'x',
      ).data,
    ]).toEqual([1]);
    expect([
      ...read(
        one('U16', 2, (view) => view.setUint16(0, 65535, true)),
        'x',
      ).data,
    ]).toEqual([65535]);
    expect(() =>
      read(
        one('I64', 8, (view) => view.setBigInt64(0, 2n ** 31n, true)),
        'x',
      ),
    ).toThrow(/'x' holds 2147483648, which does not fit into int32/);
    expect(() =>
      read(
        one('U64', 8, (view) => view.setBigUint64(0, 2n ** 64n - 1n, true)),
        'x',
      ),
    ).toThrow(/does not fit/);
  });

  it('says which dtype it cannot read', () => {
    expect(() =>
      read(
        one('F8_E4M3', 1, () => {}),
        'x',
      ),
    ).toThrow(expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(/F8_E4M3/) }));
  });

  it('reads behind 2 GB', () => {
    const begin = 2 ** 31 + 12;
    const header = new TextEncoder().encode(
      JSON.stringify({ hole: entry('F32', [begin / 4], 0, begin), x: entry('F32', [2], begin, begin + 8) }),
    );
    const path = newPath();
    const descriptor = openSync(path, 'w');
    const prefix = new Uint8Array(8);
    new DataView(prefix.buffer).setBigUint64(0, BigInt(header.length), true);
    writeSync(descriptor, prefix);
    writeSync(descriptor, header);
    ftruncateSync(descriptor, 8 + header.length + begin);
    writeSync(descriptor, new Uint8Array(Float32Array.of(1.25, -2).buffer), 0, 8, 8 + header.length + begin);
    closeSync(descriptor);
    expect([...read(path, 'x').data]).toEqual([1.25, -2]);
  });
});

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

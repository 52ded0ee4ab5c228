import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostTensor } from './host-tensor.ts';
import type { StoredTensor } from './stateful.ts';
import { joinRows, storedInMemory } from './stored-tensor.ts';

const counted = (rows: number, width: number, first = 0): HostTensor =>
  new HostTensor(
    Float32Array.from({ length: rows * width }, (_, i) => first + i),
    [rows, width],
  );

describe('a stored tensor in memory', () => {
  it('gives rows as copies, also none, and of a vector single elements', () => {
    const whole = counted(4, 3);
    const rows = storedInMemory(whole).readRows(1, 3);
    expect([rows.shape, [...rows.data]]).toEqual([
      [2, 3],
      [3, 4, 5, 6, 7, 8],
    ]);
    rows.data[0] = 99;
    expect(whole.data[3]).toBe(3);
    expect(storedInMemory(whole).readRows(4, 4).shape).toEqual([0, 3]);
    expect([...storedInMemory(new HostTensor(Int32Array.of(5, 6, 7), [3])).readRows(1, 2).data]).toEqual([6]);
  });

  it.each([
    [-1, 2],
    [0, 5],
    [3, 2],
    [0.5, 2],
    [Number.NaN, 2],
  ])('refuses rows %d to %d of 4', (from, to) => {
    const refusal = expect.objectContaining({ code: 'BAD_OPTION', message: expect.stringMatching(/\[4, 3\].*<= 4/) });
    expect(() => storedInMemory(counted(4, 3)).readRows(from, to)).toThrow(refusal);
    expect(() => joinRows([storedInMemory(counted(4, 3))], 'float32').readRows(from, to)).toThrow(refusal);
  });

  it('says that a scalar has no rows', () => {
    const scalar = storedInMemory(new HostTensor(Float32Array.of(1), []));
    expect(() => scalar.readRows(0, 1)).toThrow(/a scalar has no rows/);
  });
});

describe('pieces joined along the first axis', () => {
  it('are the whole, read in any range, whatever the pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 5 }),
        fc.nat({ max: 3 }),
        fc.nat(),
        fc.nat(),
        (sizes, width, a, b) => {
          const total = sizes.reduce((sum, n) => sum + n, 0);
          let row = 0;
          const pieces = sizes.map((rows) =>
            storedInMemory(counted(rows, width, (row += rows) * width - rows * width)),
          );
          const joined = joinRows(pieces as [StoredTensor, ...StoredTensor[]], 'float32');
          const whole = storedInMemory(counted(total, width));
          expect(joined.shape).toEqual([total, width]);
          expect(joined.read()).toEqual(whole.read());
          const [from, to] = [a % (total + 1), b % (total + 1)].sort((x, y) => x - y) as [number, number];
          expect(joined.readRows(from, to)).toEqual(whole.readRows(from, to));
        },
      ),
    );
  });

  it('touch only the pieces that are needed, and of those only the rows that are', () => {
    const asked: string[] = [];
    const watched = (name: string, rows: number): StoredTensor => ({
      shape: [rows, 1],
      read: () => expect.unreachable(),
      readRows: (from, to) => {
        asked.push(`${name} ${from}-${to}`);
        return counted(to - from, 1);
      },
    });
    const joined = joinRows([watched('a', 3), watched('b', 0), watched('c', 3), watched('d', 2)], 'float32');
    joined.readRows(2, 5);
    joined.readRows(3, 6);
    joined.readRows(6, 6);
    expect(asked).toEqual(['a 2-3', 'c 0-2', 'c 0-3']);
  });
});

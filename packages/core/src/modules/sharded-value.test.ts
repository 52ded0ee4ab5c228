import { beforeAll, describe, expect, it } from 'vitest';
import { testBackends, useBackend } from '../autograd/backends.testing.ts';
import { backward } from '../autograd/backward.ts';
import { HostTensor } from '../host-tensor.ts';
import { RowSparse } from '../autograd/row-sparse.ts';
import { embeddingLookup } from '../ops/embedding-lookup.ts';
import { layerNorm } from '../ops/layer-norm.ts';
import { linear } from '../ops/linear.ts';
import { values } from '../ops/reference.testing.ts';
import { Adam } from '../optimizers/adam.ts';
import { storedInMemory } from '../stored-tensor.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { Module } from './module.ts';
import { Parameter } from './parameter.ts';
import type { ShardedValue } from './sharded-value.ts';
import { stored } from './stored.testing.ts';

/** The whole value is on this machine; it is handed out anew at each read, and freed when the test says so. */
class FakeSource implements ShardedValue {
  reads = 0;
  #whole: Tensor | null = null;

  constructor(
    readonly data: Float32Array,
    readonly shape: readonly number[],
    readonly shard: Parameter | null = null,
  ) {}

  whole(): Tensor {
    if (this.#whole === null) {
      this.reads++;
      this.#whole = tf.keep(tf.tensor(this.data.slice(), [...this.shape]));
    }
    return this.#whole;
  }

  free(): void {
    this.#whole?.dispose();
    this.#whole = null;
  }

  gatherRows(indices: Int32Array): Float32Array {
    const width = this.shape[1] as number;
    return Float32Array.from([...indices].flatMap((row) => [...this.data.subarray(row * width, (row + 1) * width)]));
  }

  dispose(): void {
    this.free();
    this.shard?.dispose();
  }
}

const shapes = { table: [7, 4], weight: [3, 4], bias: [3], normWeight: [4], normBias: [4] } as const;
type Name = keyof typeof shapes;

function parameters(): Record<Name, Parameter> {
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape], seed) => {
      const size = shape.reduce((a: number, b: number) => a * b, 1);
      const parameter = new Parameter(tf.tensor(values(size, seed + 1), [...shape]));
      parameter.name = name;
      return [name, parameter];
    }),
  ) as Record<Name, Parameter>;
}

function shard(parameter: Parameter): FakeSource {
  const source = new FakeSource(parameter.value.dataSync<'float32'>().slice(), parameter.shape);
  parameter.shardBy(source);
  return source;
}

function run(p: Record<Name, Parameter>, between: () => void): number[][] {
  const ids = tf.tensor2d([1, 3, 3, 6], [2, 2], 'int32');
  backward(
    () => {
      const hidden = layerNorm(embeddingLookup(p.table, ids), p.normWeight, p.normBias);
      const output = linear(hidden, p.weight, p.bias);
      // An operation of tfjs itself, on the value.
      const loss = tf.sum(tf.square(tf.matMul(tf.reshape(output, [4, 3]), p.weight.value))) as Scalar;
      between();
      return loss;
    },
    { parameters: Object.values(p) },
  ).dispose();
  ids.dispose();
  return Object.values(p).map(({ grad }) => [...(grad instanceof RowSparse ? grad.rows : (grad as Tensor)).dataSync()]);
}

describe.each(testBackends())('a sharded parameter on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('gives the gradients of a whole one, to the bit, when what was gathered is freed before backward', () => {
    const whole = parameters();
    const expected = run(whole, () => {});
    const sharded = parameters();
    const sources = Object.values(sharded).map(shard);
    const before = tf.memory().numTensors;
    const free = (): void => {
      for (const source of sources) source.free();
    };
    expect(run(sharded, free)).toEqual(expected);
    const reads = Object.keys(sharded).map((name, i) => [name, sources[i]?.reads]);
    // Read again in backward where its value is needed; rows of the table were asked for by number.
    expect(Object.fromEntries(reads)).toEqual({ table: 0, weight: 2, bias: 1, normWeight: 2, normBias: 1 });
    free();
    for (const parameter of Object.values(sharded)) parameter.zeroGrad();
    // The table's handle.
    expect(tf.memory().numTensors).toBe(before + 1);
    expect(sharded.weight.tapeIds).toEqual([]);
    for (const parameter of [...Object.values(sharded), ...Object.values(whole)]) parameter.dispose();
  });
});

class Pair extends Module {
  constructor(readonly weight = new Parameter(tf.tensor2d(values(12, 5), [4, 3]))) {
    super();
  }
  forward(): void {}
}

describe('shards', () => {
  beforeAll(() => useBackend('cpu'));

  it('refuse to be changed as a whole', () => {
    const { weight } = parameters();
    shard(weight);
    expect(() => weight.assign(tf.zeros([3, 4]))).toThrow(/weight is sharded/);
    expect(() => weight.hostData()).toThrow(/sharded/);
    expect(() => weight.shardBy(new FakeSource(new Float32Array(12), [3, 4]))).toThrow(/sharded/);
    weight.dispose();
  });

  it('are what a module and an optimizer store, and read their rows of what is stored as a whole', () => {
    const data = values(12, 9);
    const make = (): [Pair, Parameter, Adam] => {
      const module = new Pair();
      const own = new Parameter(tf.tensor2d(data.slice(3, 9), [2, 3]), { firstRow: 1, wholeShape: [4, 3] });
      module.weight.shardBy(new FakeSource(new Float32Array(12), [4, 3], own));
      const optimizer = new Adam(module.parameters());
      optimizer.replaceParameters(new Map([[module.weight, own]]));
      return [module, own, optimizer];
    };
    const [module, own, optimizer] = make();
    const state = module.stateDict();
    expect([...(state.tensors['weight'] as Tensor).dataSync()]).toEqual([...data.slice(3, 9)]);
    expect(state.shards).toEqual(new Set(['weight']));
    module.loadStateDict({
      tensors: new Map([
        [
          'weight',
          storedInMemory(
            new HostTensor(
              Float32Array.from(data, (v) => 2 * v),
              [4, 3],
            ),
          ),
        ],
      ]),
      values: {},
    });
    expect([...own.value.dataSync()]).toEqual([...data.slice(3, 9)].map((v) => Math.fround(2 * v)));

    own.grad = new RowSparse(Int32Array.of(1), tf.tensor2d([1, 2, 3], [1, 3]), 2);
    optimizer.step();
    optimizer.zeroGrad();
    const moments = optimizer.stateDict();
    expect(moments.shards).toEqual(new Set(['weight.rows', 'weight.exp_avg', 'weight.exp_avg_sq']));
    expect([...(moments.tensors['weight.rows'] as Tensor).dataSync()]).toEqual([2]);

    // As if another rank had had rows 0 and 3.
    const joined = new Map(stored(moments).tensors);
    joined.set('weight.rows', storedInMemory(new HostTensor(Int32Array.of(3, 0, 2), [3])));
    for (const name of ['weight.exp_avg', 'weight.exp_avg_sq']) {
      const mine = [...(moments.tensors[name] as Tensor).dataSync()];
      joined.set(name, storedInMemory(new HostTensor(Float32Array.from([7, 7, 7, 8, 8, 8, ...mine]), [3, 3])));
    }
    const [, , other] = make();
    other.loadStateDict({ tensors: joined, values: moments.values });
    expect(stored(other.stateDict()).values).toEqual(moments.values);
    for (const [name, tensor] of Object.entries(other.stateDict().tensors))
      expect([...tensor.dataSync()]).toEqual([...(moments.tensors[name] as Tensor).dataSync()]);

    own.grad = tf.ones([2, 3]);
    optimizer.step();
    const dense = optimizer.stateDict();
    const whole = new Map(
      Object.entries(dense.tensors).map(([name, tensor]) => [
        name,
        storedInMemory(new HostTensor(Float32Array.from([9, 9, 9, ...tensor.dataSync(), 9, 9, 9]), [4, 3])),
      ]),
    );
    other.loadStateDict({ tensors: whole, values: dense.values });
    for (const [name, tensor] of Object.entries(other.stateDict().tensors))
      expect([...tensor.dataSync()]).toEqual([...(dense.tensors[name] as Tensor).dataSync()]);
  });

  it('may be none on a rank: its optimizer loads what others hold without keeping anything', () => {
    const { bias } = parameters();
    const full = new Adam([bias]);
    bias.grad = tf.ones([3]);
    full.step();
    const none = new Adam([parameters().bias]);
    none.replaceParameters(new Map(none.parameters.map((parameter) => [parameter, null])));
    const state = stored(full.stateDict());
    expect(() => none.loadStateDict({ tensors: new Map(), values: state.values })).not.toThrow();
    expect(none.loadStateDict(state)).toBeUndefined();
    expect(none.stateDict().tensors).toEqual({});
  });
});

import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../autograd/backends.testing.ts';
import { HostTensor } from '../host-tensor.ts';
import type { StoredState } from '../stateful.ts';
import { storedInMemory } from '../stored-tensor.ts';
import { tf } from '../tensors.ts';
import { Module, snakeCase } from './module.ts';
import { Parameter } from './parameter.ts';

class Dense extends Module {
  readonly weight: Parameter;
  constructor(value: number) {
    super();
    this.weight = new Parameter(tf.fill([2, 3], value));
  }
  forward(): void {}
}

class Block extends Module {
  readonly denseHTo4h = new Dense(1);
  readonly h = [new Dense(2), new Dense(3)];
  readonly scale = new Parameter(tf.ones([4]));
  readonly tied = this.denseHTo4h.weight;
  readonly notAModule = { weight: 1 };
  forward(): void {}
}

const names = ['scale', 'dense_h_to_4h.weight', 'h.0.weight', 'h.1.weight'];

function stored(entries: Record<string, [number[], number]>): StoredState {
  return {
    tensors: new Map(
      Object.entries(entries).map(([name, [shape, value]]) => {
        const size = shape.reduce((a, b) => a * b, 1);
        return [name, storedInMemory(new HostTensor(new Float32Array(size).fill(value), shape))];
      }),
    ),
    values: {},
  };
}

describe('a module', () => {
  beforeAll(() => useBackend('cpu'));

  it.each([
    ['denseHTo4h', 'dense_h_to_4h'],
    ['dense4hToH', 'dense_4h_to_h'],
    ['inputLayernorm', 'input_layernorm'],
    ['lnF', 'ln_f'],
    ['queryKeyValue', 'query_key_value'],
    ['weight', 'weight'],
  ])('calls the field %s %s in state dicts', (field, name) => expect(snakeCase(field)).toBe(name));

  it('finds the parameters of its fields and of arrays of modules, a shared one once, and names them', () => {
    const block = new Block();
    expect([...block.namedParameters()].map(([name]) => name).sort()).toEqual(
      [...names, 'tied'].filter((name) => name !== 'dense_h_to_4h.weight').sort(),
    );
    expect(block.parameters()).toHaveLength(4);
    expect(block.parameterCount()).toBe(3 * 6 + 4);
    expect(block.h[1]?.weight.name).toBe('h.1.weight');
    block.dispose();
  });

  it('switches all below it between training and evaluation', () => {
    const block = new Block();
    expect(block.eval().h[0]?.training).toBe(false);
    expect(block.train().h[0]?.training).toBe(true);
    block.dispose();
  });

  it('loads what it stores, from a parameter in host memory too', () => {
    const [first, second] = [new Dense(7), new Dense(1)];
    first.weight.updateOnHost((data) => (data[5] = 9));
    const { tensors } = first.stateDict();
    expect([...(tensors['weight']?.dataSync() ?? [])]).toEqual([7, 7, 7, 7, 7, 9]);
    second.loadStateDict({
      tensors: new Map([['weight', storedInMemory(new HostTensor(first.weight.hostData(), [2, 3]))]]),
      values: {},
    });
    expect([...second.weight.value.dataSync()]).toEqual([7, 7, 7, 7, 7, 9]);
    first.dispose();
    second.dispose();
  });

  it('refuses a state that does not fit, naming all of it, and changes nothing', () => {
    const dense = new Dense(1);
    const state = stored({ weight: [[3, 2], 5], other: [[1], 5] });
    expect(() => dense.loadStateDict(state)).toThrow(
      /unexpected: other\n {2}shape of weight: stored \[3, 2\], expected \[2, 3\]/,
    );
    expect(() => dense.loadStateDict(stored({}))).toThrow(/missing: weight/);
    expect([...dense.weight.value.dataSync()]).toEqual(Array(6).fill(1));
    dense.loadStateDict(stored({ other: [[1], 5] }), { strict: false });
    expect([...dense.weight.value.dataSync()]).toEqual(Array(6).fill(1));
    dense.dispose();
  });
});

describe('a parameter', () => {
  beforeAll(() => useBackend('cpu'));

  it('holds one tensor and frees those that it replaces', () => {
    const before = tf.memory().numTensors;
    const parameter = new Parameter(tf.ones([2]));
    tf.tidy(() => parameter.assign(tf.mul(parameter.value, 3)));
    parameter.grad = tf.ones([2]);
    expect([...parameter.value.dataSync()]).toEqual([3, 3]);
    expect(() => parameter.assign(tf.zeros([3]))).toThrow(/Shapes 2 and 3 must match|Parameter/);
    parameter.dispose();
    expect(tf.memory().numTensors).toBe(before + 1);
  });

  it('moves to host memory and back, and owns what it holds there', () => {
    const source = Float32Array.of(1, 2);
    const shared = tf.tensor1d(source);
    const parameter = new Parameter(shared.clone());
    const before = parameter.value.clone();
    parameter.updateOnHost((data) => (data[0] = 4));
    const between = parameter.value.clone();
    parameter.updateOnHost((data) => (data[0] = 5));
    expect([...source, ...before.dataSync(), ...between.dataSync()]).toEqual([1, 2, 1, 2, 4, 2]);
    tf.dispose([before, between]);
    expect([parameter.onHost, ...parameter.value.dataSync()]).toEqual([true, 5, 2]);
    expect([...shared.dataSync()]).toEqual([1, 2]);
    parameter.assign(tf.tensor1d([8, 9]));
    expect([parameter.onHost, ...parameter.value.dataSync()]).toEqual([false, 8, 9]);
    parameter.dispose();
    expect(() => parameter.value).toThrow(/after it had been disposed/);
    shared.dispose();
  });
});

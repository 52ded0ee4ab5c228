import { beforeAll, describe, expect, it } from 'vitest';
import { HalfStoringAccelerator, lossBoundary } from '../precision/half-storing.testing.ts';
import { withActivationStorage } from '../precision/activation-storage.ts';
import { Parameter } from '../modules/parameter.ts';
import { dropout } from '../ops/dropout.ts';
import { geluTanh } from '../ops/gelu-tanh.ts';
import { layerNorm } from '../ops/layer-norm.ts';
import { linear } from '../ops/linear.ts';
import { values } from '../ops/reference.testing.ts';
import { globalRandom, seedEverything } from '../random.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { backward } from './backward.ts';
import { testBackends, useBackend } from './backends.testing.ts';
import { checkpointed } from './checkpointed.ts';

const width = 6;
const x: Tensor = tf.tensor2d(values(5 * width, 9), [5, width]);
const random = (shape: number[], seed: number): Parameter =>
  new Parameter(
    tf.tensor(
      values(
        shape.reduce((a, b) => a * b, 1),
        seed,
      ),
      shape,
    ),
  );

/** Weights of one part: LayerNorm, up, down. */
const partOf = (seed: number): Parameter[] => [
  new Parameter(tf.ones([width])),
  new Parameter(tf.zeros([width])),
  random([3 * width, width], seed),
  random([width, 3 * width], seed + 1),
];

function part(input: Tensor, [scale, shift, up, down]: readonly Parameter[]): Tensor {
  return tf.tidy(() => {
    const inner = geluTanh(linear(layerNorm(input, scale as Parameter, shift as Parameter), up as Parameter));
    return tf.add(input, dropout(linear(inner, down as Parameter), 0.3, globalRandom()));
  });
}

type Apply = (input: Tensor, weights: readonly Parameter[]) => Tensor;
const plain: Apply = part;
const again: Apply = (input, weights) => checkpointed((inputs) => part(inputs.input, weights), { input }, weights);
const twice: Apply = (input, weights) =>
  checkpointed((inputs) => again(again(inputs.input, weights), weights), { input }, weights);

interface Result {
  readonly loss: number;
  readonly gradients: number[][];
  readonly nextRandom: number;
  readonly ready: number[];
}

function run(apply: Apply, prepare: (all: Parameter[]) => void = () => undefined): Result {
  const all = [1, 5, 9].map((seed) => partOf(seed));
  const parameters = all.flat();
  prepare(parameters);
  seedEverything(4);
  const ready: number[] = [];
  let loss = 0;
  for (let i = 0; i < 2; i++) {
    const scalar = backward(
      () =>
        tf.tidy(
          () =>
            all
              .reduce((state, weights) => apply(state, weights), x)
              .square()
              .mean() as Scalar,
        ),
      { parameters, onParameterReady: (parameter) => ready.push(parameters.indexOf(parameter)) },
    );
    loss = scalar.dataSync()[0] as number;
    scalar.dispose();
  }
  const gradients = parameters.map(({ grad }) => (grad === null ? [] : [...(grad as Tensor).dataSync()]));
  for (const parameter of parameters) parameter.dispose();
  return { loss, gradients, nextRandom: globalRandom().seed(), ready };
}

describe.each(testBackends())('activation checkpointing on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('gives loss, gradients and the random numbers after it to the last bit, with dropout', () => {
    const { ready, ...expected } = run(plain);
    const { ready: readyAgain, ...actual } = run(again);
    expect(actual).toEqual(expected);
    expect(expected.gradients.flat().some((gradient) => gradient !== 0)).toBe(true);
    expect([...readyAgain].sort()).toEqual([...ready].sort());
    // The last part's parameters come first.
    expect(new Set(readyAgain.slice(0, 4))).toEqual(new Set([8, 9, 10, 11]));
  });

  it('nests, with parameters that are used several times', () => {
    const { ready: _, ...expected } = run((input, weights) => part(part(input, weights), weights));
    const { ready: __, ...actual } = run(twice);
    expect(actual.loss).toBe(expected.loss);
    for (const [i, gradient] of actual.gradients.entries())
      for (const [j, value] of gradient.entries()) expect(value).toBeCloseTo(expected.gradients[i]?.[j] as number, 4);
  });

  it('passes over frozen parameters, also all of a part', () => {
    const freeze = (all: Parameter[]): void => {
      for (const parameter of [...all.slice(0, 4), all[6] as Parameter]) parameter.requiresGrad = false;
    };
    expect(run(again, freeze).gradients).toEqual(run(plain, freeze).gradients);
    expect(run(again, freeze).gradients.map((gradient) => gradient.length > 0)).toEqual(
      [0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1].map(Boolean),
    );
  });

  it('leaves no tensor behind, and keeps fewer bytes alive between forward and backward', () => {
    const weights = partOf(1);
    const live = (apply: Apply): number => {
      let bytes = 0;
      backward(
        () => {
          const before = tf.memory().numBytes;
          const loss = tf.tidy(() => apply(x, weights).sum() as Scalar);
          bytes = tf.memory().numBytes - before;
          return loss;
        },
        { parameters: weights },
      ).dispose();
      return bytes;
    };
    live(again);
    const before = tf.memory().numTensors;
    expect(live(again)).toBeLessThan(live(plain) / 4);
    expect(tf.memory().numTensors).toBe(before);
    for (const parameter of weights) parameter.dispose();
  });

  it('leaves no tensor behind and the random numbers in order when the second run fails', () => {
    const weights = partOf(1);
    let calls = 0;
    const failing: Apply = (input, own) =>
      checkpointed(
        (inputs) => {
          const output = part(inputs.input, own);
          if (++calls === 2) throw new Error('the second time');
          return output;
        },
        { input },
        own,
      );
    expect(weights.every((parameter) => parameter.tapeHandle.rank === 0)).toBe(true);
    const before = tf.memory().numTensors;
    let drawn: unknown;
    expect(() =>
      backward(
        () => {
          const loss = failing(x, weights).sum() as Scalar;
          drawn = globalRandom().stateDict().values;
          return loss;
        },
        { parameters: weights },
      ),
    ).toThrow('the second time');
    expect(globalRandom().stateDict().values).toEqual(drawn);
    // What `compute` left outside a tidy is the caller's; the loss is freed.
    expect(tf.memory().numTensors).toBeLessThanOrEqual(before + 1);
    for (const parameter of weights) parameter.dispose();
  });
});

describe('activation checkpointing in half precision', () => {
  it('computes again in the storage of the first time', async () => {
    const accelerator = new HalfStoringAccelerator();
    await accelerator.activate();
    const loss =
      (apply: Apply): Apply =>
      (input, weights) =>
        withActivationStorage(accelerator, 'float16', () => lossBoundary(accelerator, apply(input, weights)));
    const { ready: _, ...expected } = run(loss(plain));
    const { ready: __, ...actual } = run(loss(again));
    expect(actual).toEqual(expected);
    await useBackend('cpu');
    expect(run(plain).gradients).not.toEqual(expected.gradients);
  });
});

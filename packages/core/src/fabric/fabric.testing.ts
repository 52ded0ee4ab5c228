/** A small model, data and accelerators for the tests of this folder. */
import type { Accelerator, FloatStorage } from '../accelerators/accelerator.ts';
import { Adam } from '../optimizers/adam.ts';
import { HostTensor } from '../host-tensor.ts';
import { Module } from '../modules/module.ts';
import { Parameter } from '../modules/parameter.ts';
import { RandomGenerator } from '../random.ts';
import { tf, type Scalar, type Tensor } from '../tensors.ts';
import { Fabric } from './fabric.ts';
import type { FabricOptions } from './options.ts';

export interface Batch {
  /** [batch, 2] */
  readonly inputs: HostTensor;
  /** [batch, 1] */
  readonly targets: HostTensor;
}

export interface DeviceBatch {
  readonly inputs: Tensor;
  readonly targets: Tensor;
}

export interface Output {
  readonly loss: Scalar;
  readonly predictions: Tensor;
  readonly items: number;
}

/** y = x·w + b, mean squared error. */
export class LinearRegression extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly #secret = 42;

  constructor(seed = 1) {
    super();
    const values = new Float32Array(2);
    new RandomGenerator(seed).fillNormal(values);
    this.weight = new Parameter(tf.tensor2d(values, [2, 1]));
    this.bias = new Parameter(tf.tensor1d([0]));
  }

  forward({ inputs, targets }: DeviceBatch): Output {
    return tf.tidy(() => {
      const predictions = this.predict(inputs);
      return {
        loss: tf.losses.meanSquaredError(targets, predictions) as Scalar,
        predictions,
        items: inputs.shape[0] as number,
      };
    });
  }

  predict(inputs: Tensor): Tensor {
    return tf.tidy(() => tf.add(tf.matMul(inputs as never, this.weight.value as never), this.bias.value));
  }

  async predictLater(inputs: Tensor): Promise<Tensor> {
    await Promise.resolve();
    return this.predict(inputs);
  }

  forwardTwice(batch: DeviceBatch): number {
    return this.forward(batch).items * 2;
  }

  describe(): string {
    return `a model that knows ${this.#secret}`;
  }
}

export class Parameterless extends Module {
  forward(): Tensor {
    return tf.scalar(0);
  }
}

/** Batches of y = 2·x0 - 3·x1 + 1. */
export function regressionBatches(count: number, batchSize = 4, seed = 7): Batch[] {
  const random = new RandomGenerator(seed);
  return Array.from({ length: count }, () => {
    const inputs = new Float32Array(batchSize * 2);
    random.fillNormal(inputs);
    const targets = Float32Array.from({ length: batchSize }, (_, i) => 2 * inputs[2 * i]! - 3 * inputs[2 * i + 1]! + 1);
    return { inputs: new HostTensor(inputs, [batchSize, 2]), targets: new HostTensor(targets, [batchSize, 1]) };
  });
}

export async function launched(options: FabricOptions = {}): Promise<Fabric> {
  const fabric = new Fabric({ accelerator: 'cpu', ...options });
  await fabric.launch();
  return fabric;
}

export function adam(lr = 0.05): (parameters: Parameter[]) => Adam {
  return (parameters) => new Adam(parameters, { lr });
}

/** An accelerator on tfjs's cpu backend with storages as given. */
export class FakeAccelerator implements Accelerator {
  activations: FloatStorage | null = null;

  constructor(
    readonly name: string,
    readonly storages: readonly FloatStorage[],
  ) {}

  unavailable(): Promise<null> {
    return Promise.resolve(null);
  }

  deviceCount(): number {
    return 1;
  }

  async activate(): Promise<void> {
    await tf.setBackend('cpu');
  }

  describe(): string {
    return this.name;
  }

  memory(): { currentBytes: number; tensorCount: number } {
    return { currentBytes: 0, tensorCount: 0 };
  }

  setActivationStorage(storage: FloatStorage | null): void {
    this.activations = storage;
  }
}

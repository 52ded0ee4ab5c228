/** When `ddp` sends what: seen by a group of one rank that says it were one of two. */
import {
  Fabric,
  linear,
  Module,
  Parameter,
  SGD,
  SingleProcessGroup,
  tf,
  type Scalar,
  type Tensor,
} from '@tensorloom/core';
import { beforeAll, expect, it } from 'vitest';
import '../index.ts';

const log: string[] = [];

/** Two ranks of which the other one always has the same. */
class Mirror extends SingleProcessGroup {
  override readonly worldSize = 2;
  override readonly globalRanks = [0, 1];

  override allReduce(...call: Parameters<SingleProcessGroup['allReduce']>) {
    log.push(`all-reduce ${call[0].length}`);
    return super.allReduce(...call);
  }

  override async allGatherObject<T>(value: T): Promise<T[]> {
    return Promise.resolve([value, value]);
  }
}

class Stack extends Module {
  readonly first = new Parameter(tf.ones([4, 4]));
  readonly second = new Parameter(tf.ones([3, 4]));
  readonly unused = new Parameter(tf.ones([2]));
  readonly third = new Parameter(tf.ones([2, 3]));

  override forward(input: Tensor): Scalar {
    const mark = (name: string) =>
      tf.customGrad((x) => ({
        value: (x as Tensor).clone(),
        gradFunc: (dy) => {
          log.push(`backward of ${name}`);
          return dy;
        },
      }));
    const one = mark('first')(linear(input, this.first));
    const two = mark('second')(linear(one, this.second));
    return tf.mean(linear(two, this.third)) as Scalar;
  }
}

beforeAll(() => tf.setBackend('cpu'));

it('ddp sends buckets in reverse order, each as soon as its gradients and those before it are complete', async () => {
  const fabric = new Fabric({
    accelerator: 'cpu',
    strategy: 'ddp',
    devices: 2,
    // One bucket for each parameter.
    strategyOptions: { accumulate: 2, bucketMegabytes: 1e-6 },
    plugins: [new Mirror()],
  });
  await fabric.launch();
  const [model, optimizer] = await fabric.setup(new Stack(), (parameters) => new SGD(parameters, { lr: 1 }));
  const windows: string[][] = [];
  for (let microBatch = 0; microBatch < 4; microBatch++) {
    await fabric.backward(model, () => model.forward(tf.ones([1, 4])));
    log.push('step');
    await fabric.step(optimizer);
    windows.push(log.splice(0));
  }
  // An open window sends nothing.
  expect(windows[2]).toEqual(['backward of second', 'backward of first', 'step']);
  // Sizes of gradients and a flag each; `unused` is complete at the end only, and those after it wait. Items and the skip follow.
  expect(windows[3]).toEqual([
    'all-reduce 7',
    'backward of second',
    'backward of first',
    'all-reduce 3',
    'all-reduce 13',
    'all-reduce 17',
    'step',
    'all-reduce 2',
  ]);
});

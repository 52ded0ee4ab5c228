import { backward, plainExecution, seedEverything, tf, type Tensor } from '@tensorloom/core';
import { expect, test } from 'vitest';
import { batchOf, model, rows } from './small-model.test-helper.ts';

await tf.setBackend('cpu');

interface Result {
  readonly loss: number;
  readonly gradients: Float32Array[];
}

test.each([
  ['left', {}],
  ['right', { applyResidualConnectionPostLayernorm: true }],
  ['left', { hiddenDropout: 0.2, attentionDropout: 0.1 }],
] as const)(
  'blocks that are computed again in backward give the same to the last bit (%s padding, %j)',
  (side, changes) => {
    const run = (recompute: boolean): Result => {
      const net = model(changes);
      net.train();
      seedEverything(7);
      for (const block of net.transformer.h) Object.assign(block.blockExecution, plainExecution(), { recompute });
      const inputs = { ...batchOf(rows, 8, side), labels: tf.tensor1d([0, 2, 1], 'int32') };
      const parameters = net.parameters();
      const { loss, logits } = backward(() => net.forward(inputs), { parameters });
      const result = {
        loss: loss.dataSync()[0] as number,
        gradients: parameters.flatMap(({ grad }) =>
          grad === null ? [] : [('rows' in grad ? grad.rows : (grad as Tensor)).dataSync() as Float32Array],
        ),
      };
      tf.dispose([loss, logits, Object.values(inputs)]);
      net.dispose();
      return result;
    };
    const expected = run(false);
    expect(expected.gradients).toHaveLength(model(changes).parameters().length);
    expect(run(true)).toEqual(expected);
  },
);

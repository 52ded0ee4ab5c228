/** For tests: a transformer block with random weights, and the same op by op. */
import {
  bloomAttention,
  checkpointed,
  dropout,
  geluTanh,
  globalRandom,
  layerNorm,
  linear,
  Parameter,
  tf,
  type BlockParameters,
  type BlockProgram,
  type Tensor,
} from '@tensorloom/core';
import { values } from '../kernels/compare.testing.ts';

/** One way to run a block. */
export type Apply = (program: BlockProgram, x: Tensor, mask: Tensor, training: boolean) => Tensor;

export interface BlockShape {
  readonly width: number;
  readonly heads: number;
}

export function makeProgram({ width, heads }: BlockShape, changes: Partial<BlockProgram> = {}): BlockProgram {
  let seed = 1;
  const weight = (outputs: number, inputs: number): Parameter =>
    new Parameter(
      tf.tensor2d(
        values(outputs * inputs, seed++).map((x) => x / Math.sqrt(inputs)),
        [outputs, inputs],
      ),
    );
  const vector = (size: number, mean: number): Parameter =>
    new Parameter(tf.tensor1d(values(size, seed++).map((x) => mean + x / 4)));
  const parameters: BlockParameters = {
    inputNormWeight: vector(width, 1),
    inputNormBias: vector(width, 0),
    queryKeyValueWeight: weight(3 * width, width),
    queryKeyValueBias: vector(3 * width, 0),
    denseWeight: weight(width, width),
    denseBias: vector(width, 0),
    postNormWeight: vector(width, 1),
    postNormBias: vector(width, 0),
    upWeight: weight(4 * width, width),
    upBias: vector(4 * width, 0),
    downWeight: weight(width, 4 * width),
    downBias: vector(width, 0),
  };
  return {
    parameters,
    slopes: Float32Array.from({ length: heads }, (_, i) => 2 ** -(i + 1)),
    layerNormEpsilon: 1e-5,
    residualAfterNorm: false,
    attentionDropout: 0,
    hiddenDropout: 0,
    ...changes,
  };
}

/** What the program says, by the operations of core. */
export function eagerBlock(program: BlockProgram, x: Tensor, mask: Tensor, training: boolean): Tensor {
  const p = program.parameters;
  const [attentionRate, rate] = training ? [program.attentionDropout, program.hiddenDropout] : [0, 0];
  return tf.tidy(() => {
    const normed = layerNorm(x, p.inputNormWeight, p.inputNormBias, program.layerNormEpsilon);
    const qkv = linear(normed, p.queryKeyValueWeight, p.queryKeyValueBias);
    const context = bloomAttention(qkv, program.slopes, mask, {
      heads: program.slopes.length,
      ...(attentionRate > 0 && { dropout: { rate: attentionRate, random: globalRandom() } }),
    });
    const attended = dropout(linear(context, p.denseWeight, p.denseBias), rate, globalRandom());
    const middle = tf.add(attended, program.residualAfterNorm ? normed : x);
    const again = layerNorm(middle, p.postNormWeight, p.postNormBias, program.layerNormEpsilon);
    const inner = geluTanh(linear(again, p.upWeight, p.upBias));
    const output = dropout(linear(inner, p.downWeight, p.downBias), rate, globalRandom());
    return tf.add(output, program.residualAfterNorm ? again : middle);
  });
}

export function recomputedBlock(program: BlockProgram, x: Tensor, mask: Tensor, training: boolean): Tensor {
  return checkpointed(
    (inputs) => eagerBlock(program, inputs.x, inputs.mask, training),
    { x, mask },
    Object.values(program.parameters) as Parameter[],
  );
}

/** Transformer blocks as one operation of the engine: what `compile` is made of. Which memory they take is said in crates/engine/src/program/mod.rs. */
import {
  accumulateGradient,
  accumulatingOp,
  drawDropping,
  flopCounters,
  globalRandom,
  RowSparse,
  tensorOf,
  tf,
  TensorloomError,
  type BlockProgram,
  type CompiledBlock,
  type Dropping,
  type Parameter,
  type Tensor,
} from '@tensorloom/core';
import { nativeBackend } from '../backend.ts';
import { gradientMarks, parameterNames } from '../kernels/transformer-block.ts';

const nothing: Dropping = { rate: 0, seed: 0 };

/**
 * The block as one call forward and one backward. Gradients of parameters are added straight into `grad`.
 * @throws TensorloomError `UNSUPPORTED` if its heads do not divide its width
 */
export function compileBlock(program: BlockProgram): CompiledBlock {
  const width = program.parameters.inputNormWeight.size;
  const heads = program.slopes.length;
  if (width % heads !== 0)
    throw new TensorloomError('UNSUPPORTED', `its ${heads} heads do not divide its width of ${width}`);
  const parameters = parameterNames.map((name) => program.parameters[name]);
  const slopes = program.slopes.slice();
  return {
    forward: (hidden, attentionMask, { training, recompute }) => {
      const numbers = numbersOf(program, hidden, training);
      let storage = 0;
      return accumulatingOp({
        inputs: { hidden },
        parameters,
        forward(save, recording) {
          storage = nativeBackend().activationStorage;
          const keeps = recording && !recompute;
          const [output, kept] = run('TransformerBlock', { hidden, attentionMask }, parameters, {
            slopes,
            numbers,
            keeps,
          });
          save([hidden, attentionMask, ...(kept === undefined ? [] : [kept])]);
          return output as Tensor;
        },
        backward(outputGradient, [hiddenAgain, mask, kept], wanted) {
          const gradients = Int32Array.from(parameters, (parameter) =>
            wanted.parameters.has(parameter) ? placeOf(parameter) : gradientMarks.unwanted,
          );
          const [hiddenGradient, ...made] = run(
            'TransformerBlockGrad',
            {
              outputGradient,
              hidden: hiddenAgain as Tensor,
              attentionMask: mask as Tensor,
              ...(kept !== undefined && { kept }),
            },
            parameters,
            { slopes, numbers, storage, gradients },
          );
          for (const parameter of parameters.filter((_, i) => gradients[i] === gradientMarks.made))
            accumulateGradient(parameter, made.shift() as Tensor);
          return wanted.inputs.has('hidden') ? { hidden: hiddenGradient as Tensor } : {};
        },
      });
    },
  };
}

/** Batch, seq, epsilon, where residuals come from, and what is dropped; seeds are drawn in the order that BlockProgram promises. */
function numbersOf(program: BlockProgram, hidden: Tensor, training: boolean): Float64Array {
  const draw = (rate: number): Dropping => (training && rate > 0 ? drawDropping(rate, globalRandom()) : nothing);
  const attention = draw(program.attentionDropout);
  const [first, second] = [draw(program.hiddenDropout), draw(program.hiddenDropout)];
  const [batch, seq] = hidden.shape as [number, number];
  return Float64Array.of(
    batch,
    seq,
    program.layerNormEpsilon,
    program.residualAfterNorm ? 1 : 0,
    attention.rate,
    attention.seed,
    first.rate,
    first.seed,
    second.seed,
  );
}

function run(
  name: string,
  tensors: Record<string, Tensor>,
  parameters: readonly Parameter[],
  attributes: object,
): (Tensor | undefined)[] {
  const weights = Object.fromEntries(
    parameters.map((parameter, i) => [parameterNames[i] as string, tensorOf(parameter)]),
  );
  const result: Tensor | Tensor[] = tf
    .engine()
    .runKernel(name, { ...tensors, ...weights }, attributes as tf.NamedAttrMap);
  return Array.isArray(result) ? result : [result];
}

/** The gradient so far, if it may be changed in place: nobody else has its data. */
function placeOf({ grad }: Parameter): number {
  if (grad === null || grad instanceof RowSparse) return gradientMarks.made;
  const backend = nativeBackend();
  return backend.dataOf(grad.dataId).refCount === 1 ? backend.handle(grad) : gradientMarks.made;
}

/** Products of one block forward, as the same block op by op counts them. The first shape is that of hidden states, the last ones those of the weights. */
function products(shapes: readonly (readonly number[] | null)[]): number {
  const [batch, seq, width] = shapes[0] as [number, number, number];
  const weights = shapes.slice(-parameterNames.length) as (readonly number[])[];
  const affine = weights.reduce((sum, shape) => sum + (shape.length === 2 ? tf.util.sizeFromShape([...shape]) : 0), 0);
  return 2 * batch * seq * affine + 4 * batch * seq * seq * width;
}

flopCounters.register('TransformerBlock', products);
flopCounters.register('TransformerBlockGrad', (shapes) => 2 * products(shapes));

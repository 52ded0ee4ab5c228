/** BLOOM's causal self-attention with ALiBi (Press et al., 2022), numerically as `BloomAttention` of transformers (eager). */
import { TensorloomError } from '../errors.ts';
import { tf, type Tensor } from '../tensors.ts';
import { drawDropping, maskOf, type SeedSource } from './dropout.ts';
import { fusedOp, hasKernel } from './fused-op.ts';

const kernelName = 'BloomAttention';
/** What masked scores are lowered by: the least float32, which swallows any score, and keeps a row that is masked as a whole finite. */
const masked = -3.4028234663852886e38;

interface Attributes {
  readonly heads: number;
  readonly slopes: readonly number[];
  /** 0 if nothing is dropped. The composite gets a mask of this rate and seed as an input; a kernel computes it when it needs it. */
  readonly dropoutRate: number;
  readonly dropoutSeed: number;
}

const apply = fusedOp<
  'fusedQkv' | 'attentionMask' | 'bias' | 'dropoutMask',
  'qkv' | 'probabilities' | 'context',
  Attributes
>({
  name: kernelName,
  saves: ['dropoutMask'],
  residuals: ['qkv', 'probabilities', 'context'],
  // A kernel computes probabilities again: of a row it keeps only the logarithm of the sum of exponentials, `[batch, heads, seq]`.
  kernel: { saves: ['fusedQkv', 'attentionMask'], residuals: ['context', 'logSumExp'] },
  differentiates: ['fusedQkv'],
  forward({ fusedQkv, attentionMask, bias, dropoutMask: dropped }, { heads, slopes }) {
    const [batch, seq, dim] = dimensions(fusedQkv, heads);
    const qkv = tf.transpose(tf.reshape(fusedQkv, [batch, seq, heads, 3, dim]), [3, 0, 2, 1, 4]);
    const [query, key, value] = tf.unstack(qkv) as [Tensor, Tensor, Tensor];
    const products = tf.matMul(tf.mul(query, 1 / Math.sqrt(dim)), key, false, true);
    const scores = tf.add(products, (bias as Tensor | undefined) ?? composeBias(slopes, attentionMask));
    // Freed by hand: these three are the largest tensors of the model where sequences are long.
    products.dispose();
    const probabilities = tf.softmax(scores);
    scores.dispose();
    const weights = (dropped as Tensor | undefined) === undefined ? probabilities : tf.mul(probabilities, dropped);
    const context = tf.reshape(tf.transpose(tf.matMul(weights, value), [0, 2, 1, 3]), [batch, seq, heads * dim]);
    return { output: context, qkv, probabilities, context };
  },
  backward(outputGradient, { qkv, probabilities, context, dropoutMask: dropped }, { heads }) {
    return {
      fusedQkv: () => {
        const [, batch, , seq, dim] = qkv.shape as [number, number, number, number, number];
        const [query, key, value] = tf.unstack(qkv) as [Tensor, Tensor, Tensor];
        const byHead = [batch, seq, heads, dim];
        const dContext = tf.transpose(tf.reshape(outputGradient, byHead), [0, 2, 1, 3]);
        // The sum over keys of probability times its gradient equals the sum over dim of output times its gradient
        // (Dao et al., 2022, appendix B): far smaller tensors.
        const along = tf.sum(tf.mul(tf.reshape(outputGradient, byHead), tf.reshape(context, byHead)), -1, true);
        const masking = (dropped as Tensor | undefined) !== undefined;
        const weights = masking ? tf.mul(probabilities, dropped) : probabilities;
        const dValue = tf.matMul(weights, dContext, true, false);
        if (masking) weights.dispose();
        let dProbabilities = tf.matMul(dContext, value, false, true);
        if (masking) dProbabilities = replace(dProbabilities, tf.mul(dProbabilities, dropped));
        const centered = replace(dProbabilities, tf.sub(dProbabilities, tf.transpose(along, [0, 2, 1, 3])));
        const dScores = replace(centered, tf.mul(centered, probabilities));
        const dQuery = tf.matMul(dScores, key);
        const dKey = tf.matMul(dScores, query, true, false);
        dScores.dispose();
        const scale = 1 / Math.sqrt(dim);
        const stacked = tf.stack([tf.mul(dQuery, scale), tf.mul(dKey, scale), dValue]);
        return tf.reshape(tf.transpose(stacked, [1, 3, 2, 0, 4]), [batch, seq, heads * 3 * dim]);
      },
    };
  },
});

function replace(old: Tensor, next: Tensor): Tensor {
  old.dispose();
  return next;
}

function dimensions(fusedQkv: Tensor, heads: number): [batch: number, seq: number, dim: number] {
  const [batch, seq, width] = fusedQkv.shape as [number, number, number];
  return [batch, seq, width / (3 * heads)];
}

/** ALiBi plus mask, `[batch, heads, seq, seq]`: slope × position of the key among those not masked; masked and later keys are lowered. */
function composeBias(slopes: readonly number[], attentionMask: Tensor): Tensor {
  return tf.tidy(() => {
    const [batch, seq] = attentionMask.shape as [number, number];
    const mask = tf.cast(attentionMask, 'float32');
    const positions = tf.mul(tf.sub(tf.cumsum(mask, 1), 1), mask);
    const alibi = tf.mul(tf.reshape(positions, [batch, 1, 1, seq]), tf.tensor4d([...slopes], [1, slopes.length, 1, 1]));
    const order = tf.range(0, seq, 1, 'float32');
    const causal = tf.greaterEqual(tf.reshape(order, [seq, 1]), tf.reshape(order, [1, seq]));
    const visible = tf.logicalAnd(
      tf.reshape(causal, [1, 1, seq, seq]),
      tf.cast(tf.reshape(mask, [batch, 1, 1, seq]), 'bool'),
    );
    // A sum rather than a choice, as in transformers: where a whole row is masked, all its scores become equal.
    return tf.add(tf.mul(tf.sub(1, tf.cast(visible, 'float32')), masked), alibi);
  });
}

/**
 * What attention adds to its scores: the same for all layers, so computing it once per batch saves the layers the work.
 * `null` where the backend has an attention kernel of its own, which needs none.
 * @param slopes ALiBi's slope of each head
 * @param attentionMask int32 `[batch, seq]`, 1 for tokens and 0 for padding (on either side)
 * @returns `[batch, heads, seq, seq]`
 */
export function bloomAttentionBias(slopes: Float32Array, attentionMask: Tensor): Tensor | null {
  return hasKernel(kernelName) ? null : composeBias([...slopes], attentionMask);
}

/** Options of `bloomAttention`. */
export interface BloomAttentionOptions {
  readonly heads: number;
  /** Dropout of the attention probabilities. */
  readonly dropout?: { readonly rate: number; readonly random: SeedSource };
  /** From `bloomAttentionBias` for the same slopes and mask; computed anew if absent. */
  readonly bias?: Tensor | null;
}

/**
 * Causal self-attention of `fusedQkv [batch, seq, heads × 3 × dim]` (heads interleaved: `[head, 3, dim]`):
 * `[batch, seq, heads × dim]`. A query whose keys are all masked attends to every key alike, as in transformers.
 * @param slopes ALiBi's slope of each head
 * @param attentionMask int32 `[batch, seq]`, 1 for tokens and 0 for padding (on either side)
 * @throws TensorloomError `BAD_DATA` if the shapes do not fit, `BAD_OPTION` for a dropout rate out of range
 */
export function bloomAttention(
  fusedQkv: Tensor,
  slopes: Float32Array,
  attentionMask: Tensor,
  options: BloomAttentionOptions,
): Tensor {
  const { heads, dropout, bias } = options;
  const [batch, seq, width] = fusedQkv.shape;
  if (fusedQkv.rank !== 3 || (width as number) % (3 * heads) !== 0 || slopes.length !== heads)
    throw new TensorloomError(
      'BAD_DATA',
      `bloomAttention: fusedQkv is [${fusedQkv.shape.join(', ')}] with ${slopes.length} slopes; expected [batch, seq, ${heads} heads × 3 × dim] and ${heads} slopes.`,
    );
  if (attentionMask.rank !== 2 || attentionMask.shape[0] !== batch || attentionMask.shape[1] !== seq)
    throw new TensorloomError(
      'BAD_DATA',
      `bloomAttention: attentionMask is [${attentionMask.shape.join(', ')}]; expected [${batch}, ${seq}].`,
    );
  const dropping = dropout && dropout.rate !== 0 ? drawDropping(dropout.rate, dropout.random) : null;
  return apply(
    {
      fusedQkv,
      attentionMask,
      ...(bias && { bias }),
      ...(dropping &&
        !hasKernel(kernelName) && { dropoutMask: maskOf([batch, heads, seq, seq] as number[], dropping) }),
    },
    { heads, slopes: [...slopes], dropoutRate: dropping?.rate ?? 0, dropoutSeed: dropping?.seed ?? 0 },
  );
}

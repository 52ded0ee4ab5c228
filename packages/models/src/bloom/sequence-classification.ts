/** BLOOM with a classification head on the last token that is not padding (BloomForSequenceClassification in transformers). */
import {
  binaryCrossEntropyWithLogits,
  crossEntropy,
  meanSquaredError,
  Module,
  TensorloomError,
  tf,
  type Scalar,
  type StateDict,
  type Tensor,
} from '@tensorloom/core';
import { toHuggingFaceConfig, type BloomConfig, type ProblemType } from './config.ts';
import { Initializer, type BuildOptions } from './initialization.ts';
import { checkInputs, checkLabels, ignoreIndex, type BloomInputs, type WithLoss, type WithoutLoss } from './inputs.ts';
import { BiaslessLinear } from './layers.ts';
import { BloomTransformer } from './transformer.ts';

/** One row of logits per text: classes, or values of a regression. */
export class BloomForSequenceClassification extends Module {
  readonly config: BloomConfig;
  readonly transformer: BloomTransformer;
  readonly score: BiaslessLinear;

  /** @param options where random weights come from, or that none are needed */
  constructor(config: BloomConfig, options: BuildOptions = {}) {
    super();
    const initializer = new Initializer(config.initializerRange, options);
    this.config = config;
    this.transformer = new BloomTransformer(config, initializer);
    this.score = new BiaslessLinear(config.hiddenSize, config.numLabels, initializer);
  }

  /** Besides the parameters also the configuration: a checkpoint says by itself what model it holds. */
  override stateDict(): StateDict {
    return {
      ...super.stateDict(),
      values: { config: toHuggingFaceConfig(this.config, 'BloomForSequenceClassification') },
    };
  }

  /**
   * Logits [batch, numLabels], and with labels the loss (mean over reviews) and its number of items.
   * @throws TensorloomError `MISUSE` if inputs do not fit, or if several rows come without a `padTokenId` to find their ends by
   */
  override forward(inputs: BloomInputs & { readonly labels: Tensor }): WithLoss;
  override forward(inputs: BloomInputs): WithoutLoss & Partial<WithLoss>;
  override forward(inputs: BloomInputs): WithoutLoss & Partial<WithLoss> {
    checkInputs(inputs);
    // The container's type is an index signature in tfjs; ours is exact.
    return tf.tidy(() => {
      const { inputIds, attentionMask } = inputs;
      const pooled = this.transformer.forward(inputIds, attentionMask, this.#lastTokens(inputIds));
      const logits = this.score.forward(pooled.reshape([-1, this.config.hiddenSize]));
      return inputs.labels === undefined ? { logits } : { logits, ...this.#loss(logits, inputs.labels) };
    });
  }

  /** [batch, 1, seq], with a 1 at the rightmost token that is not padding, on whichever side the padding is. */
  #lastTokens(inputIds: Tensor): Tensor {
    const [batch, seq] = inputIds.shape as [number, number];
    const { padTokenId } = this.config;
    if (padTokenId === null && batch !== 1)
      throw new TensorloomError(
        'MISUSE',
        `A batch of ${batch} rows needs pad_token_id in the model's configuration, to find the last token of each row; without it, give one row at a time.`,
      );
    const positions = tf.range(0, seq, 1, 'int32');
    const last =
      padTokenId === null
        ? tf.tensor1d([seq - 1], 'int32')
        : tf.argMax(tf.mul(positions, tf.cast(tf.notEqual(inputIds, tf.scalar(padTokenId, 'int32')), 'int32')), 1);
    // A product with a one-hot row picks exactly, and has a gradient on every backend (a gather's needs a segment sum).
    // By comparison, since the wasm backend's oneHot gives the bits of integers whatever dtype is asked for.
    return tf.cast(tf.equal(positions, last.reshape([batch, 1, 1])), 'float32');
  }

  /** The rule by which transformers chooses the loss where the configuration names none. */
  #problemType(labels: Tensor): ProblemType {
    const { problemType, numLabels } = this.config;
    if (problemType !== undefined) return problemType;
    if (numLabels === 1) return 'regression';
    return labels.dtype === 'int32' ? 'single_label_classification' : 'multi_label_classification';
  }

  #loss(logits: Tensor, labels: Tensor): { loss: Scalar; items: number } {
    const [batch, numLabels] = logits.shape as [number, number];
    const problemType = this.#problemType(labels);
    if (problemType === 'single_label_classification') {
      checkLabels(labels, 'int32', [batch], 'single label classification');
      return crossEntropy(logits, labels, { ignoreIndex });
    }
    if (problemType === 'multi_label_classification') {
      checkLabels(labels, 'float32', [batch, numLabels], 'multi label classification');
      return { loss: binaryCrossEntropyWithLogits(logits, labels), items: batch };
    }
    if (numLabels === 1 && labels.rank === 1) {
      checkLabels(labels, 'float32', [batch], 'regression');
      return { loss: meanSquaredError(logits.reshape([batch]), labels), items: batch };
    }
    checkLabels(labels, 'float32', [batch, numLabels], 'regression');
    return { loss: meanSquaredError(logits, labels), items: batch };
  }
}

/** BLOOM as a language model; the head is the embedding table (BloomForCausalLM in transformers). */
import { crossEntropy, linear, Module, tf, type StateDict, type Tensor } from '@tensorloom/core';
import { toHuggingFaceConfig, type BloomConfig } from './config.ts';
import { Initializer, type BuildOptions } from './initialization.ts';
import { checkInputs, checkLabels, ignoreIndex, type BloomInputs, type WithLoss, type WithoutLoss } from './inputs.ts';
import { BloomTransformer } from './transformer.ts';

/** Predicts the next token at each position. */
export class BloomForCausalLM extends Module {
  readonly config: BloomConfig;
  readonly transformer: BloomTransformer;

  constructor(config: BloomConfig, options: BuildOptions = {}) {
    super();
    this.config = config;
    this.transformer = new BloomTransformer(config, new Initializer(config.initializerRange, options));
    // The head reads the whole table at each step.
    this.transformer.wordEmbeddings.weight.pinToDevice();
  }

  /** Besides the parameters also the configuration: a checkpoint says by itself what model it holds. */
  override stateDict(): StateDict {
    return { ...super.stateDict(), values: { config: toHuggingFaceConfig(this.config, 'BloomForCausalLM') } };
  }

  /**
   * Logits [batch, seq, vocab]; with labels [batch, seq] also the loss: token t predicts label t + 1, labels of -100 are
   * left out, and `items` is the number of labels that count.
   * @throws TensorloomError `MISUSE` if inputs do not fit
   */
  override forward(inputs: BloomInputs & { readonly labels: Tensor }): WithLoss;
  override forward(inputs: BloomInputs): WithoutLoss & Partial<WithLoss>;
  override forward(inputs: BloomInputs): WithoutLoss & Partial<WithLoss> {
    checkInputs(inputs);
    const [batch, seq] = inputs.inputIds.shape as [number, number];
    if (inputs.labels !== undefined) checkLabels(inputs.labels, 'int32', [batch, seq], 'language modelling');
    return tf.tidy(() => {
      const hidden = this.transformer.forward(inputs.inputIds, inputs.attentionMask);
      const logits = linear(hidden, this.transformer.wordEmbeddings.weight);
      if (inputs.labels === undefined) return { logits };
      // Labels move one to the left instead of the logits being cut: no copy of [batch, seq, vocab].
      const shifted = tf.concat(
        [inputs.labels.slice([0, 1], [batch, seq - 1]), tf.fill([batch, 1], ignoreIndex, 'int32')],
        1,
      );
      const flat = logits.reshape([batch * seq, this.config.vocabSize]);
      return {
        logits,
        ...crossEntropy(flat, shifted.reshape([batch * seq]), { ignoreIndex }),
      };
    });
  }
}

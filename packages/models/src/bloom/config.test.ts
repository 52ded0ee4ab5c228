import { describe, expect, it } from 'vitest';
import { parseBloomConfig, toHuggingFaceConfig, withConfig } from './config.ts';

/** config.json of bigscience/bloom-560m as published (old field names). */
const published = {
  apply_residual_connection_post_layernorm: false,
  attention_dropout: 0.0,
  attention_softmax_in_fp32: true,
  pad_token_id: 3,
  unk_token_id: 0,
  bias_dropout_fusion: true,
  bos_token_id: 1,
  eos_token_id: 2,
  hidden_dropout: 0.0,
  initializer_range: 0.02,
  layer_norm_epsilon: 1e-5,
  masked_softmax_fusion: true,
  model_type: 'bloom',
  n_embed: 1024,
  n_inner: null,
  n_layer: 24,
  num_attention_heads: 16,
  offset_alibi: 100,
  pretraining_tp: 1,
  seq_length: 2048,
  skip_bias_add: true,
  vocab_size: 250880,
};

describe('parseBloomConfig', () => {
  it('reads the published config.json with its old field names', () => {
    const config = parseBloomConfig(published);
    expect(config).toMatchObject({
      hiddenSize: 1024,
      numLayers: 24,
      numHeads: 16,
      vocabSize: 250880,
      maxLength: 2048,
      padTokenId: 3,
      numLabels: 2,
    });
  });

  it('reads every alias', () => {
    expect(parseBloomConfig({ hidden_size: 12, num_hidden_layers: 3, num_attention_heads: 4 })).toMatchObject({
      hiddenSize: 12,
      numLayers: 3,
      numHeads: 4,
    });
    expect(parseBloomConfig({ n_embed: 12, n_layer: 3, n_head: 4 })).toMatchObject({
      hiddenSize: 12,
      numLayers: 3,
      numHeads: 4,
    });
  });

  it('refuses two names of one field that disagree, naming both', () => {
    expect(() => parseBloomConfig({ hidden_size: 64, n_embed: 128 })).toThrow(
      /hidden_size is given twice.*64, and 128 as n_embed/,
    );
  });

  it('takes the defaults of transformers for what is absent', () => {
    expect(parseBloomConfig({})).toMatchObject({
      vocabSize: 250880,
      hiddenSize: 64,
      numLayers: 2,
      numHeads: 8,
      initializerRange: 0.02,
      padTokenId: null,
      bosTokenId: 1,
    });
  });

  it.each([
    [{ hidden_size: 65, n_head: 8 }, /hidden_size 65 is not divisible by n_head 8/],
    [{ n_layer: 0 }, /n_layer/],
    [{ vocab_size: '97' }, /vocab_size/],
    [{ hidden_dropout: 1 }, /hidden_dropout/],
    [{ pad_token_id: 97, vocab_size: 97 }, /pad_token_id 97 is outside the vocabulary of vocab_size 97/],
    [{ problem_type: 'ranking' }, /problem_type/],
    [{ id2label: { '0': 'a', '2': 'b' } }, /id2label has 2 entries but none for label 1/],
    [{ id2label: { '0': 'a', '1': 'b' }, num_labels: 3 }, /num_labels is 3, but id2label names 2/],
    [{ id2label: { '0': 'a', '1': 'a' } }, /two labels are named 'a'/],
    [{ model_type: 'gpt2' }, /model_type is "gpt2"; supported model types: bloom/],
    [{ tie_word_embeddings: false }, /tie_word_embeddings/],
    [[], /expected a JSON object, got an array/],
  ])('refuses %j and names the field', (json, message) => {
    expect(() => parseBloomConfig(json, 'x/config.json')).toThrow(message);
    expect(() => parseBloomConfig(json, 'x/config.json')).toThrow(/^x\/config\.json/);
  });
});

describe('toHuggingFaceConfig', () => {
  it('writes back what was read, unknown fields included', () => {
    const written = toHuggingFaceConfig(parseBloomConfig(published), 'BloomForSequenceClassification');
    expect(written).toMatchObject({
      offset_alibi: 100,
      skip_bias_add: true,
      n_inner: null,
      hidden_size: 1024,
      n_layer: 24,
      n_head: 16,
    });
    expect(written).not.toHaveProperty('n_embed');
    expect(parseBloomConfig(JSON.parse(JSON.stringify(written)))).toEqual(parseBloomConfig(published));
  });

  it('names the labels in both directions and the architecture', () => {
    const config = withConfig(parseBloomConfig({}), { labelNames: ['negative', 'positive', 'mixed'] });
    expect(config.numLabels).toBe(3);
    expect(toHuggingFaceConfig(config, 'BloomForSequenceClassification')).toMatchObject({
      architectures: ['BloomForSequenceClassification'],
      id2label: { 0: 'negative', 1: 'positive', 2: 'mixed' },
      label2id: { negative: 0, positive: 1, mixed: 2 },
    });
    expect(toHuggingFaceConfig(config, 'BloomForCausalLM')).not.toHaveProperty('id2label');
  });
});

describe('withConfig', () => {
  it('checks the changed configuration', () => {
    expect(() => withConfig(parseBloomConfig({}), { hiddenSize: 60, numHeads: 7 })).toThrow(/not divisible/);
    expect(() => withConfig(parseBloomConfig({}), { numLabels: 3, labelNames: ['a', 'b'] })).toThrow(/num_labels is 3/);
    expect(withConfig(parseBloomConfig({}), { numLabels: 3 }).labelNames).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2']);
  });
});

/** Against PyTorch + transformers: logits, hidden states, losses and gradients of the cases in fixtures/bloom. */
import { backward, RowSparse, toDevice } from '@tensorloom/core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  activate,
  below,
  denseGradient,
  largest,
  largestError,
  microBatch,
  openGolden,
  stored,
  testAccelerators,
} from '../testing.test-helper.ts';
import { BloomForCausalLM } from './causal-lm.ts';
import { BloomForSequenceClassification } from './sequence-classification.ts';

const classificationCases = ['tiny', 'six-heads', 'left-padding', 'post-layernorm', 'regression'];

describe.each(await testAccelerators())('on %s', (accelerator) => {
  beforeAll(() => activate(accelerator));

  it.each(classificationCases)('%s: logits, hidden state, loss and every gradient', (name) => {
    const golden = openGolden(name);
    const model = new BloomForSequenceClassification(golden.config, { emptyInit: true });
    model.loadStateDict({ tensors: below(golden, 'weights'), values: {} });
    const batch = microBatch(golden, 0);

    const hidden = model.transformer.forward(batch.inputIds, batch.attentionMask);
    const expectedHidden = stored(golden, 'forward/last_hidden_state').data;
    expect(largestError(hidden.dataSync(), expectedHidden)).toBeLessThan(1e-5 + 1e-5 * largest(expectedHidden));

    const { logits, loss, items } = backward(() => model.forward(batch), { parameters: model.parameters() });
    const expectedLogits = stored(golden, 'forward/logits').data;
    expect(logits.shape).toEqual([3, golden.config.numLabels]);
    expect(largestError(logits.dataSync(), expectedLogits)).toBeLessThan(1e-5 + 1e-5 * largest(expectedLogits));
    expect(Math.abs((loss.dataSync()[0] as number) - (golden.scalars['loss'] as number))).toBeLessThan(1e-5);
    expect(items).toBe(3);
    expectGradients(model, golden);
    model.dispose();
    golden.close();
  });

  it('causal-lm: logits, loss over unmasked tokens and every gradient, with the tied table', () => {
    const golden = openGolden('causal-lm');
    const model = new BloomForCausalLM(golden.config, { emptyInit: true });
    model.loadStateDict({ tensors: below(golden, 'weights'), values: {} });
    const batch = {
      inputIds: toDevice(stored(golden, 'inputs/input_ids')),
      attentionMask: toDevice(stored(golden, 'inputs/attention_mask')),
      labels: toDevice(stored(golden, 'inputs/labels')),
    };
    const { logits, loss, items } = backward(() => model.forward(batch), { parameters: model.parameters() });
    const expectedLogits = stored(golden, 'forward/logits').data;
    expect(largestError(logits.dataSync(), expectedLogits)).toBeLessThan(1e-5 + 1e-5 * largest(expectedLogits));
    expect(Math.abs((loss.dataSync()[0] as number) - (golden.scalars['loss'] as number))).toBeLessThan(1e-5);
    // 22 shifted labels of the first row, 14 of the second, whose tail is -100.
    expect(items).toBe(22 + 14);
    expectGradients(model, golden);
    model.dispose();
    golden.close();
  });
});

function expectGradients(
  model: BloomForSequenceClassification | BloomForCausalLM,
  golden: ReturnType<typeof openGolden>,
): void {
  const expected = below(golden, 'grads');
  const parameters = model.parameters();
  expect(parameters.map(({ name }) => name).sort()).toEqual([...expected.keys()].sort());
  for (const parameter of parameters) {
    const reference = expected.get(parameter.name)?.read().data as Float32Array;
    expect(
      largestError(denseGradient(parameter), reference) / largest(reference),
      `gradient of ${parameter.name}`,
    ).toBeLessThan(1e-4);
  }
  if (model instanceof BloomForSequenceClassification)
    expect(model.transformer.wordEmbeddings.weight.grad).toBeInstanceOf(RowSparse);
}

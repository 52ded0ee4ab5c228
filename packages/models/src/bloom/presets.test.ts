import { RandomGenerator } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { preset, presetNames } from './presets.ts';
import { BloomForCausalLM } from './causal-lm.ts';
import { BloomForSequenceClassification } from './sequence-classification.ts';
import { countParameters, parameterShapes } from './shapes.ts';

describe('presets', () => {
  it.each([
    // Counted from shapes; the published checkpoints hold as many elements.
    ['bloom-560m', 559_214_592],
    ['bloom-1b1', 1_065_314_304],
    ['bloom-1b7', 1_722_408_960],
    ['bloom-3b', 3_002_557_440],
    ['bloom-7b1', 7_069_016_064],
    ['bloom', 176_247_271_424],
  ])('%s has %d parameters, and 2 x hidden more with a head for two labels', (name, parameters) => {
    const { config, hubId } = preset(name);
    expect(countParameters(config)).toBe(parameters);
    expect(countParameters(config, 'causal-lm')).toBe(parameters);
    expect(countParameters(config, 'sequence-classification')).toBe(parameters + 2 * config.hiddenSize);
    expect(hubId).toBe(`bigscience/${name}`);
  });

  it('bloom-tiny is the shape of the reference run', () => {
    expect(preset('bloom-tiny').config).toMatchObject({
      hiddenSize: 64,
      numLayers: 2,
      numHeads: 4,
      vocabSize: 8192,
      maxLength: 256,
    });
    expect(preset('bloom-tiny').hubId).toBeUndefined();
  });

  it('takes changes, and refuses an unknown name with the nearest one', () => {
    expect(preset('bloom-mini', { vocabSize: 100 }).config.vocabSize).toBe(100);
    expect(() => preset('bloom-tinny')).toThrow(/Did you mean 'bloom-tiny'\?.*bloom-560m/);
    expect(() => preset('toString')).toThrow(/Unknown model preset/);
    expect(presetNames).toHaveLength(9);
  });
});

describe('parameterShapes', () => {
  const { config } = preset('bloom-tiny', { vocabSize: 50, numLabels: 3 });
  const random = new RandomGenerator(1);

  it('are names and shapes of the real classification model, in its order', () => {
    const model = new BloomForSequenceClassification(config, { random });
    expect([...model.namedParameters()].map(([name, parameter]) => [name, [...parameter.shape]])).toEqual([
      ...parameterShapes(config, 'sequence-classification'),
    ]);
    expect(model.parameterCount()).toBe(countParameters(config, 'sequence-classification'));
    model.dispose();
  });

  it('are names and shapes of the real language model, whose head is tied', () => {
    const model = new BloomForCausalLM(config, { random });
    expect([...model.namedParameters()].map(([name, parameter]) => [name, [...parameter.shape]])).toEqual([
      ...parameterShapes(config, 'causal-lm'),
    ]);
    model.dispose();
  });
});

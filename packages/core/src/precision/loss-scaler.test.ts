import { describe, expect, it } from 'vitest';
import { DynamicLossScaler, NoLossScaler } from './loss-scaler.ts';

const stored = (values: object) => ({ tensors: new Map(), values: JSON.parse(JSON.stringify(values)) });

describe('DynamicLossScaler', () => {
  it('starts at 65536, doubles after 2000 good steps in a row and not before', () => {
    const scaler = new DynamicLossScaler();
    expect(scaler.scale).toBe(65536);
    for (let step = 0; step < 1999; step++) expect(scaler.update(true)).toBe(true);
    expect(scaler.scale).toBe(65536);
    expect(scaler.update(true)).toBe(true);
    expect(scaler.scale).toBe(131072);
  });

  it('halves and skips the step on gradients that are not finite, and counts good steps anew', () => {
    const scaler = new DynamicLossScaler({ growthInterval: 3 });
    scaler.update(true);
    scaler.update(true);
    expect(scaler.update(false)).toBe(false);
    expect(scaler.scale).toBe(32768);
    expect(scaler.goodSteps).toBe(0);
    scaler.update(true);
    scaler.update(true);
    expect(scaler.scale).toBe(32768);
    scaler.update(true);
    expect(scaler.scale).toBe(65536);
  });

  it('stops growing before float32 overflows', () => {
    const scaler = new DynamicLossScaler({ initialScale: 2 ** 127, growthInterval: 1 });
    scaler.update(true);
    expect(scaler.scale).toBe(2 ** 127);
  });

  it('goes on from its state dict', () => {
    const scaler = new DynamicLossScaler({ growthInterval: 3 });
    for (const finite of [false, true, true]) scaler.update(finite);
    const other = new DynamicLossScaler({ growthInterval: 3 });
    other.loadStateDict(stored(scaler.stateDict().values));
    other.update(true);
    expect([other.scale, other.goodSteps]).toEqual([65536, 0]);
    expect(() => other.loadStateDict(stored({ scale: -1, goodSteps: 0 }))).toThrow(
      expect.objectContaining({ code: 'BAD_CHECKPOINT' }),
    );
    expect(() => other.loadStateDict(stored({}))).toThrow(expect.objectContaining({ code: 'BAD_CHECKPOINT' }));
  });

  it('refuses factors that make no sense', () => {
    for (const bad of [
      { initialScale: 0 },
      { growthFactor: 1 },
      { backoffFactor: 1 },
      { backoffFactor: 0 },
      { growthInterval: 0.5 },
      { initialScale: Infinity },
    ])
      expect(() => new DynamicLossScaler(bad)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  });
});

describe('NoLossScaler', () => {
  it('never scales, and still skips steps that are not finite', () => {
    const scaler = new NoLossScaler();
    expect([scaler.scale, scaler.update(true), scaler.update(false), scaler.scale]).toEqual([1, true, false, 1]);
    scaler.loadStateDict();
    expect(scaler.stateDict()).toEqual({ tensors: {}, values: {} });
  });
});

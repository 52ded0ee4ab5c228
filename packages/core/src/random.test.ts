import { describe, expect, it } from 'vitest';
import { globalRandom, RandomGenerator, seedEverything } from './random.ts';

function moments(values: Float32Array): { mean: number; variance: number; skewness: number; kurtosis: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const central = (power: number) => values.reduce((sum, x) => sum + (x - mean) ** power, 0) / values.length;
  const variance = central(2);
  return { mean, variance, skewness: central(3) / variance ** 1.5, kurtosis: central(4) / variance ** 2 };
}

/** Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7. */
function normalCdf(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const erf = 1 - poly * Math.exp(-z * z);
  return x >= 0 ? (1 + erf) / 2 : (1 - erf) / 2;
}

describe('RandomGenerator', () => {
  it('gives the same numbers for the same seed and others for another seed or stream', () => {
    const draw = (seed: number, stream?: number) =>
      Array.from(
        { length: 8 },
        (
          (random) => () =>
            random.uniform()
        )(new RandomGenerator(seed, stream)),
      );
    expect(draw(123)).toEqual(draw(123));
    expect(draw(123)).not.toEqual(draw(124));
    expect(draw(123, 0)).not.toEqual(draw(123, 1));
    expect(draw(123)[0]).not.toBeCloseTo(draw(124)[0]!, 3);
  });

  it('pins its numbers, so that a seed means the same in every release', () => {
    const random = new RandomGenerator(123);
    expect([random.seed(), random.seed(), random.integer(1000)]).toMatchInlineSnapshot(`
      [
        489671208,
        -1665453512,
        620,
      ]
    `);
  });

  it('draws uniform numbers evenly from [0, 1)', () => {
    const random = new RandomGenerator(1);
    const bins = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++) bins[Math.floor(random.uniform() * 10)]!++;
    for (const count of bins) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });

  it('draws integers without bias and refuses bounds it cannot serve', () => {
    const random = new RandomGenerator(2);
    const bins = [0, 0, 0];
    for (let i = 0; i < 30_000; i++) bins[random.integer(3)]!++;
    for (const count of bins) expect(Math.abs(count - 10_000)).toBeLessThan(500);
    for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 32 + 1])
      expect(() => random.integer(bad)).toThrow(/integer from 1 to 2\^32/);
  });

  it('fills with normal numbers: moments, tails and distribution function', () => {
    const n = 1_000_000;
    const values = new Float32Array(n);
    new RandomGenerator(3).fillNormal(values);
    const { mean, variance, skewness, kurtosis } = moments(values);
    expect(Math.abs(mean)).toBeLessThan(0.005);
    expect(Math.abs(variance - 1)).toBeLessThan(0.01);
    expect(Math.abs(skewness)).toBeLessThan(0.015);
    expect(Math.abs(kurtosis - 3)).toBeLessThan(0.03);
    const sorted = values.slice().sort();
    let largest = 0;
    for (let i = 0; i < n; i += 97) largest = Math.max(largest, Math.abs(normalCdf(sorted[i]!) - (i + 0.5) / n));
    // Kolmogorov-Smirnov, 1.95 / sqrt(n) is the 0.1 % level.
    expect(largest).toBeLessThan(1.95e-3);
    const beyond = (x: number) => values.reduce((count, value) => count + Number(Math.abs(value) > x), 0) / n;
    expect(beyond(3)).toBeCloseTo(0.0027, 3);
    expect(beyond(3.7)).toBeGreaterThan(0.0001);
  });

  it('advances its state in fillNormal exactly as single draws do', () => {
    const [filled, drawn] = [new RandomGenerator(8), new RandomGenerator(8)];
    const one = new Float32Array(1);
    const all = new Float32Array(5000);
    filled.fillNormal(all);
    for (const expected of all) {
      drawn.fillNormal(one);
      expect(one[0]).toBe(expected);
    }
    // Without a slow path one value takes one draw.
    const [a, b] = [new RandomGenerator(8), new RandomGenerator(8)];
    a.fillNormal(one);
    b.seed();
    expect([a.seed(), a.seed(), a.uniform()]).toEqual([b.seed(), b.seed(), b.uniform()]);
  });

  it('scales normal numbers by mean and standard deviation', () => {
    const values = new Float32Array(100_000);
    new RandomGenerator(4).fillNormal(values, 5, 0.02);
    const { mean, variance } = moments(values);
    expect(mean).toBeCloseTo(5, 3);
    expect(Math.sqrt(variance)).toBeCloseTo(0.02, 3);
  });

  it('goes on from a stored state to the last bit, through JSON', () => {
    const random = new RandomGenerator(5);
    random.fillNormal(new Float32Array(1001));
    const values = JSON.parse(JSON.stringify(random.stateDict().values));
    const rest = Array.from({ length: 10 }, () => random.uniform());
    const other = new RandomGenerator(99);
    other.loadStateDict({ tensors: new Map(), values });
    expect(Array.from({ length: 10 }, () => other.uniform())).toEqual(rest);
  });

  it('refuses a state that is not its own', () => {
    const load = (values: Record<string, never>) => () =>
      new RandomGenerator(0).loadStateDict({ tensors: new Map(), values });
    expect(load({})).toThrow(expect.objectContaining({ code: 'BAD_CHECKPOINT' }));
  });

  it('splits off children that do not repeat the parent or each other', () => {
    const parent = new RandomGenerator(6);
    const [a, b] = [parent.split(), parent.split()];
    const draws = [parent, a, b].map((random) => random.uniform());
    expect(new Set(draws).size).toBe(3);
  });

  it('refuses seeds that are not integers', () => {
    for (const bad of [1.5, Number.NaN, Infinity])
      expect(() => new RandomGenerator(bad)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  });
});

describe('seedEverything', () => {
  it('seeds the global generator, returns the seed and remembers it for workers', () => {
    expect(seedEverything(7)).toBe(7);
    const first = globalRandom().uniform();
    expect(process.env['TENSORLOOM_SEED']).toBe('7');
    expect(seedEverything()).toBe(7);
    expect(globalRandom().uniform()).toBe(first);
    delete process.env['TENSORLOOM_SEED'];
    expect(Number.isSafeInteger(seedEverything())).toBe(true);
  });
});

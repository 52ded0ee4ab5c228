/** Seeded random numbers (xoroshiro128+ from pure-rand), independent of tfjs's own generator, with a state that a checkpoint can hold. */
import { xoroshiro128plus, xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import type { JumpableRandomGenerator } from 'pure-rand/types/JumpableRandomGenerator';
import { TensorloomError } from './errors.ts';
import type { StateDict, Stateful, StoredState } from './stateful.ts';

const algorithm = 'xoroshiro128plus';

/** The same numbers from the same seed on every machine and backend. */
export class RandomGenerator implements Stateful {
  #source: JumpableRandomGenerator;

  /**
   * @param seed any safe integer
   * @param stream generators of one seed and different streams (ranks, loader workers) are independent
   * @throws TensorloomError `BAD_OPTION` if `seed` or `stream` is not a safe integer
   */
  constructor(seed: number, stream = 0) {
    this.#source = seeded(seed, stream);
  }

  /** Starts again as `new RandomGenerator(seed, stream)` would. */
  reseed(seed: number, stream = 0): void {
    this.#source = seeded(seed, stream);
  }

  /** Uniform in [0, 1), a multiple of 2^-53. */
  uniform(): number {
    const high = this.#source.next() >>> 6;
    const low = this.#source.next() >>> 5;
    return (high * 0x8000000 + low) * 2 ** -53;
  }

  /**
   * Uniform integer in [0, maxExclusive), without bias.
   * @throws TensorloomError `BAD_OPTION` unless 1 <= maxExclusive <= 2^32
   */
  integer(maxExclusive: number): number {
    if (!Number.isInteger(maxExclusive) || maxExclusive < 1 || maxExclusive > 2 ** 32)
      throw new TensorloomError(
        'BAD_OPTION',
        `integer(maxExclusive) takes an integer from 1 to 2^32; got ${maxExclusive}.`,
      );
    const limit = Math.floor(2 ** 32 / maxExclusive) * maxExclusive;
    let drawn = this.#source.next() >>> 0;
    while (drawn >= limit) drawn = this.#source.next() >>> 0;
    return drawn % maxExclusive;
  }

  /** A signed 32-bit integer, as tfjs's operations take for their `seed`. */
  seed(): number {
    return this.#source.next() | 0;
  }

  /** A generator of its own, independent of what this one draws later. Advances this one. */
  split(): RandomGenerator {
    const child = new RandomGenerator(0);
    child.#source = mixed([this.seed(), this.seed(), this.seed(), this.seed()]);
    return child;
  }

  /**
   * Fills `target` with normally distributed numbers by the ziggurat of 256 layers (Marsaglia and Tsang, 2000), with layer,
   * sign and value taken from separate bits of one draw (Doornik, 2005).
   */
  fillNormal(target: Float32Array, mean = 0, standardDeviation = 1): void {
    if (filling === 'skipped') return;
    // The state is held in an Int32Array here: calls through pure-rand's object cost several times as much.
    const state = Int32Array.from(this.#source.getState());
    for (let i = 0; i < target.length; i++) {
      const bits = step(state);
      const layer = bits & 0xff;
      const magnitude = bits >>> 9;
      const inside = magnitude * layerScale[layer]!;
      const value = magnitude < layerAccept[layer]! ? inside : edge(state, layer, inside);
      target[i] = mean + standardDeviation * ((bits & 0x100) === 0 ? value : -value);
    }
    this.#source = xoroshiro128plusFromState([...state]);
  }

  stateDict(): StateDict {
    return { tensors: {}, values: { algorithm, state: [...this.#source.getState()] } };
  }

  /** @throws TensorloomError `BAD_CHECKPOINT` if the state is not one of this generator */
  loadStateDict({ values }: StoredState): void {
    const { state } = values;
    if (
      values['algorithm'] !== algorithm ||
      !Array.isArray(state) ||
      state.length !== 4 ||
      !state.every(Number.isInteger)
    )
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `The stored random state is not one of ${algorithm}: ${JSON.stringify(values)}.`,
      );
    this.#source = xoroshiro128plusFromState(state as number[]);
  }
}

/** Rightmost layer boundary and area of each layer of the 256-layer ziggurat. */
const tail = 3.6541528853610088;
const area = 4.92867323399e-3;
const boundaries = ziggurat();
/** Value of one unit of a layer's 23-bit magnitude. */
const layerScale = Float64Array.from({ length: 256 }, (_, i) => boundaries[i]! * 2 ** -23);
/** Magnitudes below this one lie under the curve for certain. */
const layerAccept = Float64Array.from({ length: 256 }, (_, i) =>
  Math.floor((boundaries[i + 1]! / boundaries[i]!) * 2 ** 23),
);
/** Height of the curve at each boundary. */
const layerDensity = boundaries.map((x) => Math.exp(-0.5 * x * x));

function ziggurat(): Float64Array {
  const x = new Float64Array(257);
  x[0] = area / Math.exp(-0.5 * tail * tail);
  x[1] = tail;
  for (let i = 2; i < 256; i++) x[i] = Math.sqrt(-2 * Math.log(area / x[i - 1]! + Math.exp(-0.5 * x[i - 1]! ** 2)));
  x[256] = 0;
  return x;
}

/** One draw of xoroshiro128+ on `[s01, s00, s11, s10]`, pure-rand's order; the tests hold it to pure-rand's own. */
function step(state: Int32Array): number {
  const s01 = state[0]!;
  const s00 = state[1]!;
  const s10 = state[3]!;
  const a0 = s10 ^ s00;
  const a1 = state[2]! ^ s01;
  state[1] = (s00 << 24) ^ (s01 >>> 8) ^ a0 ^ (a0 << 16);
  state[0] = (s01 << 24) ^ (s00 >>> 8) ^ a1 ^ ((a1 << 16) | (a0 >>> 16));
  state[3] = (a1 << 5) ^ (a0 >>> 27);
  state[2] = (a0 << 5) ^ (a1 >>> 27);
  return (s00 + s10) | 0;
}

/** Uniform in (0, 1). */
function open(state: Int32Array): number {
  return ((step(state) >>> 0) + 0.5) * 2 ** -32;
}

/** The slow path (1.5 %): the tail beyond the last boundary, or the wedge between a layer's box and the curve. */
function edge(state: Int32Array, layer: number, inside: number): number {
  let [candidateLayer, candidate] = [layer, inside];
  for (;;) {
    if (candidateLayer === 0) {
      const x = -Math.log(open(state)) / tail;
      if (-2 * Math.log(open(state)) > x * x) return tail + x;
      continue;
    }
    const bottom = layerDensity[candidateLayer]!;
    if (bottom + open(state) * (layerDensity[candidateLayer + 1]! - bottom) < Math.exp(-0.5 * candidate * candidate))
      return candidate;
    // Rejected: draw again. The sign is independent, so the caller's still holds.
    const bits = step(state);
    candidateLayer = bits & 0xff;
    candidate = (bits >>> 9) * layerScale[candidateLayer]!;
    if (bits >>> 9 < layerAccept[candidateLayer]!) return candidate;
  }
}

function seeded(seed: number, stream: number): JumpableRandomGenerator {
  for (const [name, value] of Object.entries({ seed, stream }))
    if (!Number.isSafeInteger(value))
      throw new TensorloomError('BAD_OPTION', `A random ${name} is an integer; got ${value}.`);
  const words = (value: number) => [value | 0, Math.floor(value / 2 ** 32) | 0];
  return mixed([...words(seed), ...words(stream)]);
}

/** Spreads four words over the state (murmur3's finalizer over a running sum), so that near seeds give unrelated numbers. */
function mixed(words: readonly number[]): JumpableRandomGenerator {
  let sum = 0x9e3779b9;
  const state: number[] = [];
  for (let round = 0; round < 2; round++)
    for (let i = 0; i < 4; i++) {
      sum = finalize(sum + words[i]! + 0x9e3779b9);
      state[i] = round === 0 ? sum : sum ^ state[i]!;
    }
  if (state.every((word) => word === 0)) return xoroshiro128plus(0);
  return xoroshiro128plusFromState(state);
}

function finalize(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) | 0;
}

let filling: 'done' | 'skipped' = 'done';

/** Runs `fn` with `fillNormal` leaving its arrays as they are: parameters that a checkpoint fills anyway are not drawn first. */
export function withoutRandomFilling<T>(fn: () => T): T {
  const before = filling;
  filling = 'skipped';
  try {
    return fn();
  } finally {
    filling = before;
  }
}

const shared = new RandomGenerator(0);

/** The process's generator: what takes no generator of its own (initialization, dropout) draws from it. */
export function globalRandom(): RandomGenerator {
  return shared;
}

/**
 * Seeds the process's generator and returns the seed. Without one, `TENSORLOOM_SEED` is taken, else one is drawn.
 * @param stream tells ranks and workers of one seed apart
 * @throws TensorloomError `BAD_OPTION` if the seed is not an integer
 */
export function seedEverything(seed?: number, stream = 0): number {
  const fromEnvironment = process.env['TENSORLOOM_SEED'];
  const chosen =
    seed ?? (fromEnvironment === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(fromEnvironment));
  shared.reseed(chosen, stream);
  process.env['TENSORLOOM_SEED'] = String(chosen);
  return chosen;
}

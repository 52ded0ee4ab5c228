/** Loads the Rust addon, and says what it can do: the types of its functions by family of kernels. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { TensorloomError } from '@tensorloom/core';

/** How elements are stored, by the engine's code. The first three stand for float32 values. */
export const storageCodes = { float32: 0, float16: 1, bfloat16: 2, int32: 3, bool: 4 } as const;

/** What memory is for, by the engine's code. */
export const memoryKinds = { tensor: 0, parameter: 1, gradient: 2, optimizerState: 3, scratch: 4 } as const;

/** A tensor in the engine's memory. A plain number, which must be freed. */
export type Handle = number;

/** Elements in JavaScript: float32 (also of halves), int32, or a byte for each boolean. */
export type Elements = Float32Array | Int32Array | Uint8Array;

export interface KindUsage {
  readonly currentBytes: number;
  readonly peakBytes: number;
}

/** What the engine's tensors of this JavaScript thread take. `byKind` has the order of `memoryKinds`. */
export interface MemoryUsage {
  readonly total: KindUsage;
  readonly byKind: readonly KindUsage[];
  readonly buffers: number;
  readonly cachedBytes: number;
}

/** Making, reading and freeing tensors (crates/addon/src/memory.rs). */
export interface MemoryFunctions {
  /** That of the addon's package in Cargo.toml. */
  version(): string;
  start(threads: number): void;
  describe(): string;
  zeros(length: number, storage: number, kind: number): Handle;
  uploadFloats(values: Float32Array, storage: number): Handle;
  uploadIntegers(values: Int32Array): Handle;
  uploadBooleans(values: Uint8Array): Handle;
  storageOf(handle: Handle): number;
  free(handle: Handle): void;
  setKind(handle: Handle, kind: number): void;
  memoryUsage(): MemoryUsage;
  resetPeaks(): void;
}

/** Products of matrices (crates/addon/src/gemm.rs). Gradients are float32; those `into` a handle are added to what it has, and it is returned. */
export interface GemmFunctions {
  linear(x: Handle, weight: Handle, bias: Handle | null, m: number, n: number, k: number, storage: number): Handle;
  linearGradX(outputGradient: Handle, weight: Handle, m: number, n: number, k: number, storage: number): Handle;
  linearGradWeight(outputGradient: Handle, x: Handle, into: Handle | null, m: number, n: number, k: number): Handle;
  linearGradBias(outputGradient: Handle, into: Handle | null, m: number, n: number): Handle;
  batchMatMul(
    a: Handle,
    b: Handle,
    left: Int32Array,
    right: Int32Array,
    m: number,
    n: number,
    k: number,
    transposeA: boolean,
    transposeB: boolean,
    storage: number,
  ): Handle;
}

/** Layer normalization and BLOOM's activation (crates/addon/src/layer_norm.rs, gelu.rs). */
export interface LayerNormFunctions {
  layerNorm(
    x: Handle,
    weight: Handle,
    bias: Handle,
    epsilon: number,
    storage: number,
  ): [output: Handle, mean: Handle, inverseDeviation: Handle];
  layerNormGrad(
    outputGradient: Handle,
    x: Handle,
    weight: Handle,
    mean: Handle,
    inverseDeviation: Handle,
  ): [x: Handle, weight: Handle, bias: Handle];
  gelu(x: Handle, storage: number): Handle;
  geluGrad(outputGradient: Handle, x: Handle): Handle;
}

/** BLOOM's attention (crates/addon/src/attention.rs). */
export interface AttentionFunctions {
  /** Context and what its gradient needs besides. */
  bloomAttention(
    qkv: Handle,
    mask: Handle,
    slopes: Float32Array,
    batch: number,
    seq: number,
    dim: number,
    dropoutRate: number,
    dropoutSeed: number,
    storage: number,
  ): [context: Handle, logSumExp: Handle];
  bloomAttentionGradient(
    contextGradient: Handle,
    qkv: Handle,
    mask: Handle,
    context: Handle,
    logSumExp: Handle,
    slopes: Float32Array,
    batch: number,
    seq: number,
    dim: number,
    dropoutRate: number,
    dropoutSeed: number,
  ): Handle;
}

/** Dropout (crates/addon/src/dropout.rs). */
export interface DropoutFunctions {
  dropout(x: Handle, rate: number, seed: number, storage: number): Handle;
}

/** Elements in JavaScript: a copy, a view until it is collected, a view until the loan ends (crates/addon/src/elements.rs). */
export interface ElementFunctions {
  read(handle: Handle): Elements;
  view(handle: Handle): Elements;
  lend(handle: Handle): Elements;
  endLoan(handle: Handle, buffer: ArrayBufferLike): void;
}

/** Functions of one and two operands, element by element (crates/addon/src/elementwise.rs). */
export interface ElementwiseFunctions {
  unary(code: number, x: Handle, first: number, second: number, storage: number): Handle;
  predicate(code: number, x: Handle): Handle;
  cast(x: Handle, storage: number): Handle;
  filled(length: number, value: number, storage: number): Handle;
  binary(code: number, a: Handle, aShape: Int32Array, b: Handle, bShape: Int32Array, storage: number): Handle;
  compare(code: number, a: Handle, aShape: Int32Array, b: Handle, bShape: Int32Array): Handle;
  select(condition: Handle, a: Handle, b: Handle, storage: number): Handle;
}

/** Moving elements (crates/addon/src/movement.rs). */
export interface MovementFunctions {
  rearrange(x: Handle, offset: number, shape: Int32Array, strides: Int32Array): Handle;
  pad(x: Handle, xShape: Int32Array, begin: Int32Array, shape: Int32Array, value: number): Handle;
  join(rows: number, parts: Uint32Array): Handle;
  gather(
    x: Handle,
    indices: Handle,
    batches: number,
    outer: number,
    axis: number,
    inner: number,
    count: number,
  ): Handle;
}

/** Steps of optimizers in place (crates/addon/src/optimizers.rs, which says what the factors are). */
export interface OptimizerFunctions {
  adamStep(value: Handle, gradient: Handle, expAvg: Handle, expAvgSq: Handle, factors: Float64Array): void;
  sgdStep(value: Handle, gradient: Handle, momentum: Handle | null, factors: Float64Array): void;
  adamRows(
    table: Float32Array,
    gradients: Handle,
    expAvg: Float32Array,
    expAvgSq: Float32Array,
    rows: Int32Array,
    offsets: Int32Array,
    width: number,
    factors: Float64Array,
  ): void;
  sgdRows(
    table: Float32Array,
    gradients: Handle,
    momentum: Float32Array | null,
    rows: Int32Array,
    offsets: Int32Array,
    width: number,
    factors: Float64Array,
  ): void;
}

/** What is done to gradients (crates/addon/src/gradients.rs). */
export interface GradientFunctions {
  accumulate(into: Handle, gradient: Handle): void;
  scaleInPlace(values: Handle, factor: number): void;
  norm(tensors: Uint32Array, p: number): number;
  addRows(into: Handle, rows: Handle, positions: Int32Array, width: number): void;
}

/** Rows of embedding tables (crates/addon/src/embedding.rs). */
export interface EmbeddingFunctions {
  gatherRows(table: Float32Array, indices: Int32Array, width: number, storage: number): Handle;
  sumRows(values: Handle, slots: Int32Array, rows: number, width: number): Handle;
}

/** Softmax and cross-entropy (crates/addon/src/softmax.rs). */
export interface SoftmaxFunctions {
  softmax(x: Handle, width: number, storage: number): Handle;
  crossEntropy(logits: Handle, labels: Handle, ignoreIndex: number, items: number): [loss: Handle, logSumExp: Handle];
  /** Returns `logits` itself if the gradient took their place. */
  crossEntropyGrad(
    outputGradient: Handle,
    logits: Handle,
    labels: Handle,
    logSumExp: Handle,
    ignoreIndex: number,
    items: number,
    mayOverwrite: boolean,
  ): Handle;
}

/** Reductions along an axis (crates/addon/src/reduce.rs). */
export interface ReduceFunctions {
  /** `[outer, reduced, inner]` to `[outer, inner]`. */
  reduce(
    x: Handle,
    reduction: number,
    outer: number,
    reduced: number,
    inner: number,
    factor: number,
    storage: number,
  ): Handle;
  argReduce(x: Handle, largest: boolean, width: number): Handle;
  cumulativeSum(x: Handle, width: number, exclusive: boolean, reverse: boolean): Handle;
}

/** Transformer blocks that run as one program each (crates/addon/src/program.rs, which says what `numbers` are). */
export interface ProgramFunctions {
  blockKeptBytes(tokens: number, width: number, inner: number, heads: number, storage: number): number;
  blockForward(
    hidden: Handle,
    mask: Handle,
    weights: Uint32Array,
    slopes: Float32Array,
    numbers: Float64Array,
    storage: number,
    keeps: boolean,
  ): [output: Handle, kept?: Handle];
  /** `gradients`: a handle to add to, -1 for one that is not wanted, -2 for a new one, which are returned behind that of `hidden`. */
  blockBackward(
    outputGradient: Handle,
    hidden: Handle,
    mask: Handle,
    weights: Uint32Array,
    kept: Handle | null,
    gradients: Int32Array,
    slopes: Float32Array,
    numbers: Float64Array,
    storage: number,
  ): [hidden: Handle, ...parameters: Handle[]];
  clearWorkspace(): void;
}

/** All functions of the addon. */
export type Addon = MemoryFunctions &
  ElementFunctions &
  GemmFunctions &
  LayerNormFunctions &
  AttentionFunctions &
  DropoutFunctions &
  ElementwiseFunctions &
  MovementFunctions &
  OptimizerFunctions &
  GradientFunctions &
  EmbeddingFunctions &
  SoftmaxFunctions &
  ReduceFunctions &
  ProgramFunctions;

/** This platform as napi-rs names it (scripts/platform.mjs says the same). */
function platformName(): string {
  const { platform, arch } = process;
  if (platform === 'linux') {
    const { header } = process.report.getReport() as { header: object };
    return `linux-${arch}-${'glibcVersionRuntime' in header ? 'gnu' : 'musl'}`;
  }
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}

const require = createRequire(import.meta.url);
let loaded: Addon | undefined;

/**
 * Where the addon is: what `nx run native:addon` has built here, else the npm package for this platform; null if there is neither.
 * An own build comes first, since it may be newer.
 */
export function findAddon(): string | null {
  const platform = platformName();
  const built = fileURLToPath(new URL(`../addon/tensorloom.${platform}.node`, import.meta.url));
  if (existsSync(built)) return built;
  try {
    return require.resolve(`@tensorloom/native-${platform}`);
  } catch {
    return null;
  }
}

/**
 * Refuses an addon that was built from other sources than this package: its functions may take other arguments. The oldest have no `version`.
 * @throws TensorloomError `UNSUPPORTED`
 */
export function expectVersion(file: string, { version }: Partial<Pick<MemoryFunctions, 'version'>>): void {
  const { version: expected } = require('../package.json') as { version: string };
  const actual = version?.() ?? 'unknown';
  if (actual === expected) return;
  throw new TensorloomError(
    'UNSUPPORTED',
    `The addon ${file} is of version ${actual}; @tensorloom/native ${expected} takes its own version only. Build it anew: \`npx nx run native:addon\`.`,
  );
}

/**
 * The addon.
 * @throws Error if it is not there or cannot be loaded
 * @throws TensorloomError `UNSUPPORTED` if it is of another version than this package
 */
export function addon(): Addon {
  if (loaded !== undefined) return loaded;
  const file = findAddon();
  if (file === null) throw new Error('The addon is not built.');
  const found = require(file) as Addon;
  expectVersion(file, found);
  return (loaded = found);
}

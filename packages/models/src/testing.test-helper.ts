/** For tests: accelerators to test on, reference cases, comparison with bounds. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  accelerators,
  openSafetensors,
  RowSparse,
  tf,
  toDevice,
  type HostTensor,
  type Parameter,
  type StoredTensor,
  type Tensor,
} from '@tensorloom/core';
import { parseBloomConfig, type BloomConfig } from './bloom/config.ts';

/** Names of the accelerators that are here; a missing tensorflow is said, or refused where the environment demands it. */
export async function testAccelerators(): Promise<string[]> {
  const present: string[] = [];
  for (const name of ['cpu', 'wasm', 'tensorflow']) {
    const why = await accelerators.get(name).create().unavailable();
    if (why === null) present.push(name);
    else if (name !== 'tensorflow' || process.env['TENSORLOOM_REQUIRE_TENSORFLOW'] === '1')
      throw new Error(`accelerator ${name}: ${why}`);
    else console.log(`not tested on tensorflow: ${why}`);
  }
  return present;
}

export async function activate(name: string): Promise<void> {
  await accelerators.get(name).create().activate({ deviceIndex: 0 });
}

/** A reference case made with PyTorch and transformers (fixtures/bloom/NAME.json and .safetensors). */
export interface GoldenCase {
  readonly config: BloomConfig;
  readonly scalars: Readonly<Record<string, number | readonly number[]>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  close(): void;
}

export function openGolden(name: string): GoldenCase {
  const path = (extension: string): string =>
    fileURLToPath(new URL(`../fixtures/bloom/${name}.${extension}`, import.meta.url));
  const { config, scalars } = JSON.parse(readFileSync(path('json'), 'utf8')) as {
    config: unknown;
    scalars: GoldenCase['scalars'];
  };
  const file = openSafetensors(path('safetensors'));
  return {
    config: parseBloomConfig(config, `${name}.json`),
    scalars,
    tensors: file.tensors,
    close: () => file.close(),
  };
}

/** The tensors of a case below `prefix/`, under the rest of their names. */
export function below(golden: GoldenCase, prefix: string): Map<string, StoredTensor> {
  return new Map(
    [...golden.tensors]
      .filter(([name]) => name.startsWith(`${prefix}/`))
      .map(([name, tensor]) => [name.slice(prefix.length + 1), tensor]),
  );
}

export function stored(golden: GoldenCase, name: string): HostTensor {
  const tensor = golden.tensors.get(name);
  if (tensor === undefined) throw new Error(`the reference case has no ${name}`);
  return tensor.read();
}

/** Micro-batch `index` of a classification case, on the device. */
export function microBatch(
  golden: GoldenCase,
  index: number,
): { inputIds: Tensor; attentionMask: Tensor; labels: Tensor } {
  const pick = (name: string): Tensor =>
    tf.tidy(() => tf.unstack(toDevice(stored(golden, `inputs/${name}`)))[index] as Tensor);
  return { inputIds: pick('input_ids'), attentionMask: pick('attention_mask'), labels: pick('labels') };
}

export function largest(values: ArrayLike<number>): number {
  let result = 0;
  for (let i = 0; i < values.length; i++) result = Math.max(result, Math.abs(values[i] as number));
  return result;
}

/** Largest absolute difference; NaN counts as infinitely far. */
export function largestError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values, expected ${expected.length}`);
  let result = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] as number) - (expected[i] as number));
    result = Math.max(result, Number.isNaN(difference) ? Infinity : difference);
  }
  return result;
}

/** A parameter's gradient in full, rows that did not occur as zeros. */
export function denseGradient(parameter: Parameter): Float32Array {
  const { grad } = parameter;
  if (grad === null) throw new Error(`${parameter.name} has no gradient`);
  if (!(grad instanceof RowSparse)) return grad.dataSync<'float32'>().slice();
  const [rows, width] = grad.shape;
  const dense = new Float32Array(rows * width);
  const values = grad.rows.dataSync<'float32'>();
  grad.indices.forEach((row, i) => dense.set(values.subarray(i * width, (i + 1) * width), row * width));
  return dense;
}

/** What a run runs on, as the blog's scripts print it with `watermark`: versions, accelerator, device, threads. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AcceleratorSelection } from '@tensorloom/core';
import { formatBytes } from './format.ts';

export interface Watermark {
  readonly tensorloom: string;
  readonly node: string;
  readonly tfjs: string;
  readonly accelerator: string;
  /** Library and device in the accelerator's words. */
  readonly device: string;
  readonly cpu: string;
  readonly memoryBytes: number;
  readonly precision: string;
}

export function createWatermark(
  accelerator: { readonly name: string; describe(): string },
  precision: string,
): Watermark {
  const processors = cpus();
  return {
    tensorloom: ownVersion(),
    node: process.versions.node,
    tfjs: packageVersion('@tensorflow/tfjs'),
    accelerator: accelerator.name,
    device: accelerator.describe(),
    cpu: `${processors[0]?.model.trim() ?? 'unknown'}, ${processors.length} logical cores`,
    memoryBytes: totalmem(),
    precision,
  };
}

/** What `auto` would rather have taken, and why it could not: a line each. */
export function passedOver({ automatic, accelerator, skipped }: AcceleratorSelection): string[] {
  if (!automatic) return [];
  return skipped.map(
    ({ name, reason }) => `accelerator ${name} would come first, ${accelerator.name} is taken: ${firstLineOf(reason)}`,
  );
}

function firstLineOf(text: string): string {
  return text.split('\n')[0] as string;
}

export function formatWatermark(mark: Watermark): string {
  const rows: [string, string][] = [
    ['tensorloom', mark.tensorloom],
    ['node', mark.node],
    ['tfjs', mark.tfjs],
    ['accelerator', `${mark.accelerator} (${mark.device})`],
    ['precision', mark.precision],
    ['cpu', mark.cpu],
    ['memory', formatBytes(mark.memoryBytes)],
  ];
  return rows.map(([name, value]) => `${name.padEnd(11)} : ${value}`).join('\n');
}

export function ownVersion(): string {
  return readVersion(join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'package.json'));
}

/** Version of an installed package, `not installed` where it is absent. */
export function packageVersion(name: string): string {
  try {
    return readVersion(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    return 'not installed';
  }
}

function readVersion(path: string): string {
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}

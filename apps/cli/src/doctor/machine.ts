/** The machine: processor, its vector instructions, memory. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';

export interface Machine {
  readonly platform: string;
  readonly cpu: string;
  /** Cores that this process may use, as the operating system says. */
  readonly cores: number;
  /** Vector instruction sets that matter for speed; undefined where the system does not tell. */
  readonly simd: readonly string[] | undefined;
  readonly wasmSimd: boolean;
  readonly memoryBytes: number;
  readonly freeMemoryBytes: number;
  /** What a container or job limits this process to, if it does. */
  readonly memoryLimitBytes: number | undefined;
  /** Largest heap of JavaScript objects (tensors of most accelerators live outside it). */
  readonly heapLimitBytes: number;
}

export function examineMachine(): Machine {
  const memoryBytes = totalmem();
  // Where there is no limit this is 0, or (cgroups without one) larger than any machine.
  const limit = process.constrainedMemory();
  return {
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    simd: readSimdFlags(),
    wasmSimd: hasWasmSimd(),
    memoryBytes,
    freeMemoryBytes: freemem(),
    memoryLimitBytes: limit > 0 && limit < memoryBytes ? limit : undefined,
    heapLimitBytes: getHeapStatistics().heap_size_limit,
  };
}

const SIMD_FLAGS = [
  'sse4_2',
  'avx',
  'f16c',
  'fma',
  'avx2',
  'avx512f',
  'avx512_bf16',
  'avx512_fp16',
  'amx_bf16',
  'asimd',
  'asimdhp',
  'bf16',
  'sve',
];

function readSimdFlags(): string[] | undefined {
  try {
    return parseSimdFlags(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return undefined; // only Linux has the file
  }
}

/** The instruction sets in the text of Linux's /proc/cpuinfo (x86: `flags`, Arm: `Features`). */
export function parseSimdFlags(cpuInfo: string): string[] | undefined {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuInfo)?.[1];
  if (line === undefined) return undefined;
  const flags = new Set(line.trim().split(/\s+/));
  return SIMD_FLAGS.filter((flag) => flags.has(flag));
}

// Its types come with the DOM's, which Node.js code has no use for.
declare const WebAssembly: { validate(module: Uint8Array): boolean };

function hasWasmSimd(): boolean {
  // A module with one function that makes a vector: i32.const 0, i8x16.splat, drop.
  return WebAssembly.validate(
    new Uint8Array([
      0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11,
    ]),
  );
}

/** How the transformer blocks of a module run: compiled, recomputed in backward, or op by op. */
import { accelerators, type Accelerator } from '../accelerators/accelerator.ts';
import { TensorloomError } from '../errors.ts';
import { isTransformerBlock, type TransformerBlock } from '../modules/block-program.ts';
import { Module } from '../modules/module.ts';

/** What was asked for. */
export interface BlockOptions {
  readonly compile: boolean;
  readonly activationCheckpointing: boolean;
}

/** What became of the blocks of one module. */
export interface BlockReport {
  readonly blocks: number;
  /** Blocks that run as one operation each. */
  readonly compiled: number;
  /** Blocks whose activations are computed again in backward. */
  readonly recomputed: number;
  /** Blocks that could not be given all that was asked for, and why. Elements of lists of modules count as blocks. */
  readonly plain: readonly { readonly name: string; readonly reason: string }[];
}

/** @throws TensorloomError `UNSUPPORTED` if it has none, naming those that have */
export function checkCompiler(accelerator: Accelerator): void {
  if (accelerator.compileBlock !== undefined) return;
  const able = accelerators.names().filter((name) => accelerators.get(name).create().compileBlock !== undefined);
  const others = able.length > 0 ? ` (${able.join(', ')} ${able.length > 1 ? 'have' : 'has'} one)` : '';
  throw new TensorloomError(
    'UNSUPPORTED',
    `Accelerator '${accelerator.name}' has no compiler${others}. Leave out the option compile.`,
  );
}

/** Sets the execution of each block of `module`. */
export function setUpBlocks(module: Module, accelerator: Accelerator, options: BlockOptions): BlockReport {
  const plain: { name: string; reason: string }[] = [];
  let [compiled, recomputed] = [0, 0];
  const blocks = findBlocks(module);
  for (const [name, block] of blocks) {
    if (!isTransformerBlock(block)) {
      if (options.compile || options.activationCheckpointing)
        plain.push({ name, reason: `${block.constructor.name} says nothing of what it computes (TransformerBlock)` });
      continue;
    }
    block.blockExecution.recompute = options.activationCheckpointing;
    block.blockExecution.compiled = null;
    if (options.activationCheckpointing) recomputed++;
    if (!options.compile) continue;
    const failure = compile(block, accelerator);
    if (failure === null) compiled++;
    else plain.push({ name, reason: failure });
  }
  return { blocks: blocks.length, compiled, recomputed, plain };
}

/** Transformer blocks wherever they are, and other elements of lists that are in no block. */
function findBlocks(module: Module, prefix = ''): [string, Module][] {
  return Object.entries(module).flatMap(([field, value]: [string, unknown]) => {
    const name = prefix === '' ? field : `${prefix}.${field}`;
    if (value instanceof Module) return isTransformerBlock(value) ? [[name, value]] : findBlocks(value, name);
    if (!Array.isArray(value)) return [];
    return value.flatMap((element: unknown, i): [string, Module][] => {
      if (!(element instanceof Module)) return [];
      const inner = isTransformerBlock(element) ? [] : findBlocks(element, `${name}.${i}`);
      return inner.length > 0 ? inner : [[`${name}.${i}`, element]];
    });
  });
}

function compile(block: TransformerBlock, accelerator: Accelerator): string | null {
  try {
    block.blockExecution.compiled = accelerator.compileBlock?.(block.blockProgram) ?? null;
    return block.blockExecution.compiled === null ? `accelerator '${accelerator.name}' has no compiler` : null;
  } catch (error) {
    if (error instanceof TensorloomError && error.code === 'UNSUPPORTED') return error.message;
    throw error;
  }
}

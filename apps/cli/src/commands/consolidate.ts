/** `tensorloom consolidate`: flags and help. The work is in ../consolidate.ts. */
import type { Command } from 'commander';
import { UsageError } from '../errors.ts';

interface ConsolidateFlags {
  readonly maxShardBytes?: string;
  readonly tokenizer?: string;
  readonly key?: string;
  readonly force?: boolean;
}

export function registerConsolidateCommand(program: Command): void {
  program
    .command('consolidate')
    .description(
      'Makes a folder in Hugging Face format of a checkpoint, of whatever strategy and however many ranks: configuration, weights, tokenizer.',
    )
    .argument('<checkpoint>', 'checkpoint folder, or a run folder for its newest whole checkpoint')
    .argument('<out>', 'folder to make; it is whole or not there')
    .option(
      '--max-shard-bytes <n>',
      'largest size of one weights file; above it the weights are sharded (default: 5e9)',
    )
    .option('--tokenizer <path>', "tokenizer.json, or a folder with one; default: the run folder's")
    .option('--key <name>', 'which model, where the checkpoint holds several')
    .option('--force', 'replace <out> as a whole if it is there and not empty')
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      '\nThe checkpoint is only read, every byte of it is checked, and one parameter at a time is held in memory.' +
        '\nThe result is what the run itself would leave as its model at that step, byte for byte.',
    )
    .action(async (checkpoint: string, out: string, flags: ConsolidateFlags) => {
      const { maxShardBytes, ...others } = flags;
      const limit = maxShardBytes === undefined ? {} : { maxShardBytes: parseBytes(maxShardBytes) };
      const { consolidate } = await import('../consolidate.ts');
      await consolidate({ checkpoint, out, ...others, ...limit });
    });
}

function parseBytes(text: string): number {
  const bytes = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isSafeInteger(bytes) || bytes < 1)
    throw new UsageError(`--max-shard-bytes=${text}: expected a whole number of bytes, such as 2000000000 or 2e9.`);
  return bytes;
}

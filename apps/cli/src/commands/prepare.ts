/** `tensorloom prepare`: flags and help. The work is in ../prepare.ts. */
import type { Command } from 'commander';
import { addOptionFlags, givenOptions } from '../config/flags.ts';
import type { OptionKey } from '../config/schema.ts';

const keys = [
  'model',
  'data',
  'dataPath',
  'split',
  'textField',
  'labelField',
  'tokenizer',
  'vocabularySize',
  'maxLength',
  'seed',
  'quiet',
] as const satisfies OptionKey[];

export function registerPrepareCommand(program: Command): void {
  const command = program
    .command('prepare')
    .description('Downloads and tokenizes a data set into the cache ahead of a run, and says what the cache holds.')
    .allowExcessArguments(false);
  addOptionFlags(command, keys);
  command.action(async (parsed: Record<string, unknown>) => {
    const { prepare } = await import('../prepare.ts');
    await prepare(givenOptions(parsed, keys));
  });
}

/** `tensorloom evaluate`: flags and help. The work is in ../evaluate-model.ts. */
import { Option, type Command } from 'commander';
import { addOptionFlags, givenOptions } from '../config/flags.ts';
import type { OptionKey } from '../config/schema.ts';

const keys = [
  'tokenizer',
  'data',
  'dataPath',
  'split',
  'textField',
  'labelField',
  'maxLength',
  'paddingSide',
  'accelerator',
  'precision',
  'threads',
  'evalBatchSize',
  'evalLimit',
  'seed',
  'quiet',
] as const satisfies OptionKey[];

export function registerEvaluateCommand(program: Command): void {
  const command = program
    .command('evaluate')
    .description('Measures the accuracy of a trained model on one part of a data set.')
    .requiredOption(
      '--model <model>',
      'run folder (its data set and options are the defaults), folder in Hugging Face format, or hub id',
    )
    .addOption(
      new Option('--split-part <choice>', 'part of the data set')
        .choices(['train', 'validation', 'test'])
        .default('test'),
    )
    .option('--json', 'print one line of JSON')
    .allowExcessArguments(false);
  addOptionFlags(command, keys);
  command.action(async (parsed: Record<string, unknown>) => {
    const { evaluateModel } = await import('../evaluate-model.ts');
    await evaluateModel({
      model: parsed.model as string,
      part: parsed.splitPart as 'train' | 'validation' | 'test',
      json: parsed.json === true,
      flags: givenOptions(parsed, keys),
    });
  });
}

/** `tensorloom predict`: flags and help. The work is in ../predict.ts. */
import type { Command } from 'commander';
import { addOptionFlags, givenOptions } from '../config/flags.ts';
import type { OptionKey } from '../config/schema.ts';

const keys = [
  'tokenizer',
  'maxLength',
  'paddingSide',
  'accelerator',
  'precision',
  'threads',
  'evalBatchSize',
] as const satisfies OptionKey[];

export function registerPredictCommand(program: Command): void {
  const command = program
    .command('predict')
    .description('Gives label and probability of each text: of the arguments, else of each line of standard input.')
    .argument('[texts...]', 'texts; without any, lines of standard input')
    .requiredOption('--model <model>', 'run folder, folder in Hugging Face format, or hub id')
    .option('--json', 'print one JSON object per text, with the probabilities of all labels');
  addOptionFlags(command, keys);
  command.action(async (texts: string[], parsed: Record<string, unknown>) => {
    const { predict } = await import('../predict.ts');
    await predict({
      model: parsed.model as string,
      texts,
      json: parsed.json === true,
      flags: givenOptions(parsed, keys),
    });
  });
}

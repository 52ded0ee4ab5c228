/** `tensorloom train`: flags and help. The work is in ../train/. */
import type { Command } from 'commander';
import { addOptionFlags, givenOptions } from '../config/flags.ts';
import { optionKeys } from '../config/schema.ts';
import { presetNames } from '../presets.ts';

export function registerTrainCommand(program: Command): void {
  const command = program
    .command('train')
    .description('Fine-tunes a model, evaluates it and leaves a run folder.')
    .option('--preset <name>', `start from the options of a known run: ${presetNames.join(', ')}`)
    .option('--config <file>', 'YAML file with options by flag name; flags win over it')
    .option('--resume <run-folder>', 'go on from the newest complete checkpoint of a run, with its options')
    .allowExcessArguments(false);
  addOptionFlags(command, optionKeys);
  command.action(async (parsed: Record<string, unknown>) => {
    const flags = givenOptions(parsed, optionKeys);
    const text = (name: string): string | undefined => parsed[name] as string | undefined;
    const [preset, configFile, resume] = [text('preset'), text('config'), text('resume')];
    const { runTraining } = await import('../train/run-training.ts');
    process.exitCode = await runTraining({
      flags,
      ...(preset === undefined ? {} : { preset }),
      ...(configFile === undefined ? {} : { configFile }),
      ...(resume === undefined ? {} : { resume }),
    });
  });
}

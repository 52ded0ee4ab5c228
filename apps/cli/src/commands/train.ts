/** `tensorloom train`: flags and help. The work is in ../run-training.ts, the loop in ../train.ts. */
import type { Command } from 'commander';
import { addOptionFlags, givenOptions } from '../config/flags.ts';
import { resolveConfig, type ConfigSources } from '../config/resolve.ts';
import { optionKeys } from '../config/schema.ts';
import { presetNames } from '../presets.ts';
import { isFinished } from '../run/finished.ts';
import { openRun } from '../run/resume.ts';

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
    const text = (name: string): string | undefined => parsed[name] as string | undefined;
    const [preset, configFile, resume] = [text('preset'), text('config'), text('resume')];
    const flags = givenOptions(parsed, optionKeys);
    const sources: ConfigSources = {
      flags,
      ...(preset === undefined ? {} : { preset }),
      ...(configFile === undefined ? {} : { configFile }),
    };
    const request = resume === undefined ? { resolved: resolveConfig(sources) } : openRun(resume, sources);
    const { planRanks } = await import('../distributed/ranks.ts');
    const plan = planRanks(request.resolved, flags);
    if ('folder' in request && isFinished(request.folder, request.resolved.config)) {
      const { path, model } = request.folder;
      if (plan.isRankZero) process.stdout.write(`${path} is finished already; its model is in ${model}.\n`);
      return;
    }
    if (plan.mustStartRanks) {
      const { startRanks } = await import('../distributed/start-ranks.ts');
      process.exitCode = await startRanks(plan.resolved.config, resume === undefined);
      return;
    }
    const { runTraining } = await import('../run-training.ts');
    process.exitCode = await runTraining({ ...request, resolved: plan.resolved }, plan.isRankZero);
  });
}

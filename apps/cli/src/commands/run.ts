/** `tensorloom run`: flags and help. The work is in ../distributed/run-script.ts. */
import { Option, type Command } from 'commander';
import { addLaunchFlags, givenLaunchOptions } from '../distributed/launch-flags.ts';

export function registerRunCommand(program: Command): void {
  const command = program
    .command('run')
    .usage('[options] SCRIPT [ARGS]')
    .description(
      'Runs a script of your own, in TypeScript or JavaScript, once per device: its Fabric takes accelerator, strategy, devices and precision from here. Options come before SCRIPT; all after it is the script’s.',
    )
    .argument('<script>', 'a .ts, .mts, .js or .mjs file')
    .argument('[args...]', 'for the script')
    .option('--accelerator <name>', 'what computes')
    .option('--strategy <name>', 'how a step is made')
    .option('--precision <name>', 'how numbers are stored')
    .addOption(new Option('--process-group <name>', 'how ranks talk'))
    .passThroughOptions();
  addLaunchFlags(command);
  command.action(async (script: string, args: string[], parsed: Record<string, unknown>) => {
    const text = (name: string): string | undefined => parsed[name] as string | undefined;
    const options = givenLaunchOptions(parsed);
    const { runScript } = await import('../distributed/run-script.ts');
    process.exitCode = await runScript(script, args, options, {
      accelerator: text('accelerator'),
      strategy: text('strategy'),
      precision: text('precision'),
      processGroup: text('processGroup'),
    });
  });
}

/** `tensorloom launch`: flags and help. The work is in ../distributed/launch-command.ts. */
import type { Command } from 'commander';
import { addLaunchFlags, givenLaunchOptions } from '../distributed/launch-flags.ts';

export function registerLaunchCommand(program: Command): void {
  const command = program
    .command('launch')
    .usage('--devices=<n> [options] -- COMMAND [ARGS]')
    .description(
      'Starts a command once per device and watches over the ranks: `tensorloom launch --devices=4 -- train --strategy=ddp`. COMMAND is one of tensorloom, or a program.',
    )
    .argument('<command...>', 'what each rank runs, after --')
    .passThroughOptions();
  addLaunchFlags(command);
  command.action(async (words: string[], parsed: Record<string, unknown>) => {
    const options = givenLaunchOptions(parsed);
    const { launchCommand } = await import('../distributed/launch-command.ts');
    process.exitCode = await launchCommand(words, options);
  });
}

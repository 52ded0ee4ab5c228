/** `tensorloom doctor`: its flags and exit codes. The work is imported only when the command runs. */
import type { Command } from 'commander';

/** Options as commander gives them. */
export interface DoctorFlags {
  readonly json?: boolean;
}

/** Adds `doctor` to the program. Exit codes: 0 training is possible here, 1 it is not. */
export function registerDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .summary('what is installed, what is missing and what that costs')
    .description(
      'Looks at this machine: Node.js, processor, memory, accelerators, precisions, strategies, process groups, cluster environment, cache folder and packages.',
    )
    .option('--json', 'print one JSON document instead of text')
    .addHelpText('after', '\nExit codes: 0 training is possible here, 1 it is not (the reasons are printed).')
    .action(async (flags: DoctorFlags) => {
      const { runDoctorCommand } = await import('./run-command.ts');
      process.exitCode = await runDoctorCommand(flags);
    });
}

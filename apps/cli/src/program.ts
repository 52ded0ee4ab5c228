/** The `tensorloom` command line: its commands, and how its errors are reported. What a command does is loaded when it runs. */
import { Command, CommanderError } from 'commander';
import { registerConsolidateCommand } from './commands/consolidate.ts';
import { registerEvaluateCommand } from './commands/evaluate.ts';
import { registerLaunchCommand } from './commands/launch.ts';
import { registerPredictCommand } from './commands/predict.ts';
import { registerPrepareCommand } from './commands/prepare.ts';
import { registerRunCommand } from './commands/run.ts';
import { registerTrainCommand } from './commands/train.ts';
import { suggest } from './config/validate.ts';
import { registerDoctorCommand } from './doctor/command.ts';
import { reportError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { registerVerifyCommand } from './verify/command.ts';

function createProgram(): Command {
  // Set before the commands are added, which copy these settings.
  const program = new Command('tensorloom')
    .description('Trains and evaluates language models in Node.js.')
    .exitOverride()
    .helpCommand(false)
    // Options of `launch` and `run` end where the command to be run begins.
    .enablePositionalOptions()
    .showSuggestionAfterError(false)
    .showHelpAfterError('(add --help for all options)')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted (SIGINT), 143 terminated (SIGTERM).' +
        '\nTENSORLOOM_DEBUG=1 adds stack traces to errors.',
    );
  registerTrainCommand(program);
  registerEvaluateCommand(program);
  registerPredictCommand(program);
  registerPrepareCommand(program);
  registerConsolidateCommand(program);
  registerLaunchCommand(program);
  registerRunCommand(program);
  registerVerifyCommand(program);
  registerDoctorCommand(program);
  for (const command of [program, ...program.commands])
    command.configureOutput({ outputError: (text, write) => write(text + suggestion(text, command)) });
  return program;
}

/** The nearest flag or command. Not commander's own, which compares `--acumulate=16` with its value. */
function suggestion(text: string, command: Command): string {
  const [, kind, given] = /^error: unknown (option|command) '([^'=]+)/.exec(text) ?? [];
  if (given === undefined) return '';
  const known =
    kind === 'option'
      ? [...command.options.map(({ long }) => long ?? ''), '--help']
      : command.commands.map((subcommand) => subcommand.name());
  const nearest = suggest(given, known);
  return nearest === '' ? '' : `(${nearest.trim()})\n`;
}

/** Runs the command line and returns the exit code. Never throws. */
export async function run(args: readonly string[]): Promise<number> {
  try {
    const program = createProgram();
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return exitCodes.usage;
    }
    await program.parseAsync([...args], { from: 'user' });
    // A command that ends badly without an error (verify over its bound) has set the exit code.
    return typeof process.exitCode === 'number' ? process.exitCode : exitCodes.ok;
  } catch (error) {
    // Commander has printed its message already; help is not an error.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    return reportError(error);
  }
}

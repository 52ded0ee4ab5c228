/** `tensorloom verify`: its flags and exit codes. The work is imported only when the command runs. */
import { Option, type Command } from 'commander';

/** Options as commander gives them. */
interface VerifyFlags {
  readonly reference: string;
  readonly accelerator: string;
  readonly threads?: number;
  readonly precision: string;
  readonly compile?: boolean;
  readonly activationCheckpointing?: boolean;
  readonly imdb?: string;
  readonly only?: string;
  readonly json?: boolean;
}

/** Adds `verify` to the program. Exit codes: 0 all within their bounds, 1 one is over its bound, 2 nothing could be compared. */
export function registerVerifyCommand(program: Command): void {
  program
    .command('verify')
    .summary('compare with reference values made with PyTorch')
    .description(
      'Runs the reference cases of a folder (NAME.json with NAME.safetensors: forward, gradients, optimizer runs, fine-tuning\n' +
        'runs; tokenizer.json with encodings.json; a partition of IMDB) and prints the largest error of each against its bound.',
    )
    .requiredOption('--reference <dir>', 'folder of reference cases; folders in it are searched too')
    .option('--accelerator <name>', 'accelerator to verify, or auto', 'auto')
    .addOption(new Option('--threads <n>', 'threads of the accelerator, where it can choose').argParser(Number))
    .option('--precision <name>', 'how numbers are stored; halves are for fine-tuning runs only', '32-true')
    .option('--compile', 'run each transformer block as one operation, where the accelerator has a compiler')
    .option('--activation-checkpointing', 'compute transformer blocks again in backward')
    .option('--imdb <path>', "IMDB's archive or unpacked folder, to check a partition case with")
    .option('--only <names>', 'only cases whose names contain one of these, separated by commas')
    .option('--json', 'print one JSON document instead of the table')
    .addHelpText(
      'after',
      '\nExit codes: 0 all within their bounds, 1 one is over its bound, 2 no case, a malformed one or one that cannot run.',
    )
    .action(async (flags: VerifyFlags) => {
      const { runVerifyCommand } = await import('./run-command.ts');
      process.exitCode = await runVerifyCommand(flags);
    });
}

export type { VerifyFlags };

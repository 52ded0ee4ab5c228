/** What `tensorloom verify` does once its flags are known: progress to stderr, the result to stdout, the exit code back. */
import { TensorloomError } from '@tensorloom/core';
import type { VerifyFlags } from './command.ts';
import { formatReport, reportToJson } from './report.ts';
import { verify } from './verify.ts';

/** @returns the exit code: 0, 1 (a result is over its bound), 2 (nothing could be compared; the reason is on stderr) */
export async function runVerifyCommand(flags: VerifyFlags): Promise<0 | 1 | 2> {
  try {
    if (flags.threads !== undefined && !(Number.isInteger(flags.threads) && flags.threads > 0))
      throw new TensorloomError('BAD_OPTION', '--threads takes a whole number of at least 1.');
    const report = await verify({
      reference: flags.reference,
      accelerator: flags.accelerator,
      precision: flags.precision,
      compile: flags.compile ?? false,
      activationCheckpointing: flags.activationCheckpointing ?? false,
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
      ...(flags.imdb === undefined ? {} : { imdb: flags.imdb }),
      ...(flags.only === undefined
        ? {}
        : {
            only: flags.only
              .split(',')
              .map((name) => name.trim())
              .filter((name) => name !== ''),
          }),
      progress: (line) => process.stderr.write(`${line}\n`),
    });
    process.stdout.write(`${flags.json === true ? reportToJson(report) : formatReport(report)}\n`);
    return report.passed ? 0 : 1;
  } catch (error) {
    if (!(error instanceof TensorloomError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    return 2;
  }
}

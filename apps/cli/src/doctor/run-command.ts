/** What `tensorloom doctor` does: examine, print, say whether training is possible. */
import type { DoctorFlags } from './command.ts';
import { examine } from './examine.ts';
import { formatFindings } from './report.ts';

/** @returns the exit code: 0 training is possible here, 1 it is not */
export async function runDoctorCommand(flags: DoctorFlags): Promise<0 | 1> {
  const findings = await examine();
  process.stdout.write(`${flags.json === true ? JSON.stringify(findings, null, 2) : formatFindings(findings)}\n`);
  return findings.canTrain ? 0 : 1;
}

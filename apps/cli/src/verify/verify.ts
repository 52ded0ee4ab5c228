/** Runs all reference cases of a folder on one accelerator. */
import { precisionName, TensorloomError } from '@tensorloom/core';
import { FLOAT32, launchFabric, type VerifyDevice } from './case-model.ts';
import type { Check } from './comparison.ts';
import { closeCases, readReferenceFolder, type ReferenceCase } from './reference-folder.ts';
import type { VerifyReport } from './report.ts';
import { runModelCase } from './run-model-case.ts';
import { runPartitionCase } from './run-partition-case.ts';
import { runTokenizerCase } from './run-tokenizer-case.ts';
import { runTrainRunCase } from './run-train-run.ts';

export interface VerifyOptions {
  /** Folder of reference cases. */
  readonly reference: string;
  /** Name of an accelerator, or `auto` (default). */
  readonly accelerator?: string;
  readonly threads?: number;
  /** `32-true` (default), or one of halves, in which only fine-tuning runs can be compared. */
  readonly precision?: string;
  /** With transformer blocks compiled. */
  readonly compile?: boolean;
  /** With transformer blocks computed again in backward. */
  readonly activationCheckpointing?: boolean;
  /** IMDB's archive or unpacked folder; without it partition cases are only noted. */
  readonly imdb?: string;
  /** Only cases whose names contain one of these. */
  readonly only?: readonly string[];
  readonly progress?: (line: string) => void;
}

/** @throws TensorloomError `BAD_FILE` if there is no case or one is malformed, and what launching throws */
export async function verify(options: VerifyOptions): Promise<VerifyReport> {
  const progress = options.progress ?? (() => {});
  const found = readReferenceFolder(options.reference);
  try {
    const cases = select(found, options.only ?? []);
    const device: VerifyDevice = {
      accelerator: options.accelerator ?? 'auto',
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      precision: precisionName(options.precision ?? FLOAT32),
      compile: options.compile ?? false,
      activationCheckpointing: options.activationCheckpointing ?? false,
    };
    refuseHalves(cases, device);
    const { accelerator } = await launchFabric(device, 1);
    const checks: Check[] = [];
    const notes: string[] = [];
    let ran = 0;
    for (const each of cases) {
      progress(`${each.name} …`);
      if (each.kind === 'model') notes.push(...each.notes);
      if (each.kind === 'partition' && options.imdb === undefined) {
        notes.push(`${each.name}: not checked, since it needs the reviews: give them with --imdb=PATH`);
        continue;
      }
      checks.push(...(await runCase(each, { ...device, accelerator: accelerator.name }, options.imdb, progress)));
      ran++;
    }
    if (checks.length === 0)
      throw new TensorloomError('BAD_FILE', `${options.reference}: nothing was checked. ${notes.join(' ')}`);
    return {
      reference: options.reference,
      accelerator: accelerator.name,
      device: accelerator.describe(),
      cases: ran,
      checks,
      notes,
      passed: checks.every((check) => check.ok),
    };
  } finally {
    closeCases(found);
  }
}

/** References are of float32, and so are the bounds of all that is not averaged over a run. */
function refuseHalves(cases: readonly ReferenceCase[], { precision }: VerifyDevice): void {
  const others = cases.filter(({ kind }) => kind === 'model');
  if (precision === FLOAT32 || others.length === 0) return;
  throw new TensorloomError(
    'BAD_OPTION',
    `--precision=${precision}: only fine-tuning runs are compared in another precision than ${FLOAT32}, not ${others.map(({ name }) => name).join(', ')}. ` +
      'Choose a run with --only=NAME.',
  );
}

function runCase(
  each: ReferenceCase,
  device: VerifyDevice,
  imdb: string | undefined,
  progress: (line: string) => void,
): Promise<Check[]> {
  if (each.kind === 'model') return runModelCase(each, device);
  if (each.kind === 'train-run') return runTrainRunCase(each, device, progress);
  if (each.kind === 'tokenizer') return runTokenizerCase(each);
  return runPartitionCase(each, imdb as string);
}

function select(cases: readonly ReferenceCase[], only: readonly string[]): readonly ReferenceCase[] {
  if (only.length === 0) return cases;
  const chosen = cases.filter((each) => only.some((name) => each.name.includes(name)));
  if (chosen.length === 0)
    throw new TensorloomError(
      'BAD_OPTION',
      `--only=${only.join(',')} matches no case; there are: ${cases.map((each) => each.name).join(', ')}.`,
    );
  return chosen;
}

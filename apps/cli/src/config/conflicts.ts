/** Options that cannot be had together. Found before anything is loaded; each message names both and what to do. */
import { UsageError } from '../errors.ts';
import { globalDefaults, isPretrained } from './defaults.ts';
import { flagName, type OptionKey, type RunConfig } from './schema.ts';

/** @throws UsageError for the first conflict */
export function refuseConflicts(config: RunConfig, origins: Readonly<Partial<Record<OptionKey, string>>>): void {
  // A default that is spelled out (as in the config.yaml of a run folder) asks for nothing.
  const given = (key: OptionKey): boolean =>
    origins[key] !== undefined && !['default', 'recipe'].includes(origins[key]) && config[key] !== globalDefaults[key];
  const shown = (key: OptionKey): string => `--${flagName(key)}=${String(config[key])}`;

  if (config.devices > 1 && (config.strategy === 'accumulate' || config.strategy === 'single'))
    refuse(
      `${shown('devices')} needs a strategy for several devices, but ${shown('strategy')} runs on one. Leave out --devices.`,
    );
  if (config.strategy === 'single' && config.accumulate > 1)
    refuse(
      `${shown('accumulate')} needs --strategy=accumulate, but ${shown('strategy')} steps after each micro-batch.`,
    );
  if (config.clipNorm !== undefined && config.clipValue !== undefined)
    refuse(`${shown('clipNorm')} and ${shown('clipValue')} exclude each other: clip by one of them.`);
  if (given('momentum') && config.optimizer !== 'sgd')
    refuse(`${shown('momentum')} is for --optimizer=sgd, not ${shown('optimizer')}.`);
  if (
    config.schedule === 'constant' &&
    given('warmupSteps') &&
    config.maxSteps !== undefined &&
    config.warmupSteps > config.maxSteps
  )
    refuse(`${shown('warmupSteps')} is more than ${shown('maxSteps')}.`);
  for (const key of ['hiddenSize', 'layers', 'heads'] as const)
    if (given(key) && isPretrained(config.model))
      refuse(
        `${shown(key)} changes the architecture, but ${shown('model')} brings pretrained weights. Give a preset such as --model=bloom-tiny.`,
      );
  const fromFile = config.data === 'jsonl' || config.data === 'csv';
  if (fromFile && config.dataPath === undefined)
    refuse(`${shown('data')} needs --data-path: a file, or a folder with train, validation and test files.`);
  if (config.data === 'quickstart' && given('dataPath'))
    refuse(
      `${shown('dataPath')} is not used by ${shown('data')}. For a file of your own add --data=jsonl, --data=csv, or --data=imdb.`,
    );
  for (const key of ['textField', 'labelField'] as const)
    if (given(key) && !fromFile) refuse(`${shown(key)} is for --data=jsonl and --data=csv, not ${shown('data')}.`);
  if (given('split') && config.data !== 'imdb') refuse(`${shown('split')} is for --data=imdb, not ${shown('data')}.`);
}

function refuse(message: string): never {
  throw new UsageError(message);
}

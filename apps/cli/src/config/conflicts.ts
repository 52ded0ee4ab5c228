/** Options that cannot be had together. Found before anything is loaded; each message names both and what to do. */
import { UsageError } from '../errors.ts';
import { globalDefaults, isPretrained } from './defaults.ts';
import { flagName, type OptionKey, type RunConfig } from './schema.ts';

/** Options that only some strategies have. */
const strategyOptionKeys = [
  ['bucketMegabytes', ['ddp', 'zero1', 'zero2']],
  ['compression', ['ddp']],
  ['reduceEachMicroBatch', ['zero2', 'fsdp']],
  ['parameterStorage', ['fsdp']],
  ['reductionStorage', ['fsdp']],
] as const satisfies readonly (readonly [OptionKey, readonly string[]])[] as readonly (readonly [
  OptionKey,
  readonly string[],
])[];

/** @throws UsageError for the first conflict */
export function refuseConflicts(config: RunConfig, origins: Readonly<Partial<Record<OptionKey, string>>>): void {
  // A default that is spelled out (as in the config.yaml of a run folder) asks for nothing.
  const given = (key: OptionKey): boolean =>
    origins[key] !== undefined && !['default', 'recipe'].includes(origins[key]) && config[key] !== globalDefaults[key];
  const shown = (key: OptionKey): string => `--${flagName(key)}=${String(config[key])}`;

  refuseConflictsOfRanks(config, (config.devices ?? 1) * (config.numNodes ?? 1));
  for (const [key, strategies] of strategyOptionKeys)
    if (config[key] !== undefined && !strategies.includes(config.strategy))
      refuse(`${shown(key)} is for --strategy=${strategies.join(', ')}, not ${shown('strategy')}.`);
  const tls = (['tlsCertificate', 'tlsKey', 'tlsAuthority'] as const).filter((key) => config[key] !== undefined);
  if (tls.length > 0 && tls.length < 3)
    refuse('--tls-certificate, --tls-key and --tls-authority go together: give all three, or none.');
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

/**
 * What depends on how many ranks there are, which only a launcher's environment may tell.
 * @throws UsageError
 */
export function refuseConflictsOfRanks(
  config: Pick<RunConfig, 'strategy' | 'accumulate' | 'microBatchSize'>,
  ranks: number,
): void {
  const { strategy, accumulate, microBatchSize } = config;
  if (ranks === 1) return;
  if (strategy === 'accumulate' || strategy === 'single')
    refuse(
      `There are ${ranks} ranks, but --strategy=${strategy} runs on one device. Choose --strategy=ddp (or zero1, zero2, fsdp, which hold less on each rank), or leave out --devices.`,
    );
  if (accumulate % ranks === 0) return;
  const below = Math.floor(accumulate / ranks) * ranks;
  const fitting = [...(below > 0 ? [below] : []), below + ranks];
  // The same effective batch in smaller micro-batches, where that comes out even.
  const smaller = (accumulate * microBatchSize) / (below + ranks);
  const same = Number.isInteger(smaller)
    ? ` --accumulate=${below + ranks} --micro-batch-size=${smaller} keeps the effective batch size of ${accumulate * microBatchSize}.`
    : '';
  refuse(
    `--accumulate=${accumulate} micro-batches per step cannot be divided among ${ranks} ranks. Take a multiple of ${ranks}, such as ${fitting.join(' or ')}.${same}`,
  );
}

function refuse(message: string): never {
  throw new UsageError(message);
}

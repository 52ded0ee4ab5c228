/** `--resume=RUN_FOLDER`: the recorded options; refuses flags that would make it another run. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  absolutePaths,
  explicitOptions,
  readSources,
  type ConfigSources,
  type ResolvedConfig,
} from '../config/resolve.ts';
import { flagName, optionKeys, runSchema, type OptionKey, type PartialRunConfig } from '../config/schema.ts';
import { validateOptions } from '../config/validate.ts';
import { UsageError } from '../errors.ts';
import { RunFolder } from './run-folder.ts';

export interface ResumedRun {
  readonly folder: RunFolder;
  readonly resolved: ResolvedConfig;
}

/** These change what is reported, kept, how fast it goes and on how many ranks, never what is learnt. The data are checked by their digest. */
const harmless: ReadonlySet<OptionKey> = new Set<OptionKey>([
  'dataPath',
  'evalBatchSize',
  'evalLimit',
  'evalEvery',
  'logEvery',
  'checkpointEvery',
  'checkpointEveryMicroBatches',
  'keepCheckpoints',
  'maxSkippedSteps',
  'quiet',
  'strategy',
  'devices',
  'numNodes',
  'processGroup',
  'bucketMegabytes',
  'compression',
  'reduceEachMicroBatch',
  'parameterStorage',
  'reductionStorage',
  'collectiveTimeoutMs',
  'rankTimeoutMs',
  'listenAddress',
  'networkInterface',
  'tlsCertificate',
  'tlsKey',
  'tlsAuthority',
]);

/** @throws UsageError if there is no run, or a flag that contradicts the recorded options */
export function openRun(path: string, sources: ConfigSources): ResumedRun {
  const folder = new RunFolder(resolve(path));
  const { options: recorded, origins } = readRecordedConfig(folder);
  const given = explicitOptions(readSources(sources));
  const changes: PartialRunConfig = { ...given, ...absolutePaths(given) };
  refuseChanges(recorded, changes, folder);
  const result = runSchema.safeParse({ ...recorded, ...changes });
  if (!result.success) {
    const keys = result.error.issues.map(({ path: [key] }) => flagName(String(key)));
    throw new UsageError(
      `${folder.configJson} is not the whole configuration of a run: ${keys.join(', ')} missing or not valid. Start a new run.`,
    );
  }
  return { folder, resolved: { config: result.data, origins, recipe: 'the options of the run that is resumed' } };
}

function refuseChanges(recorded: PartialRunConfig, changes: PartialRunConfig, folder: RunFolder): void {
  const conflicts: string[] = [];
  for (const key of optionKeys) {
    if (changes[key] === undefined || changes[key] === recorded[key] || harmless.has(key)) continue;
    // A longer run is the same run where the learning rate does not depend on its length.
    if ((key === 'maxSteps' || key === 'epochs') && recorded.schedule === 'constant') continue;
    const before = recorded[key] === undefined ? 'unset' : String(recorded[key]);
    const why = key === 'maxSteps' || key === 'epochs' ? `, and --schedule=${recorded.schedule} depends on it` : '';
    conflicts.push(`--${flagName(key)}=${String(changes[key])} (recorded: ${before}${why})`);
  }
  if (conflicts.length > 0)
    throw new UsageError(
      `${folder.path} cannot go on with other options: ${conflicts.join('; ')}. Leave them out, or start a new run with --config=${folder.configYaml}.`,
    );
}

interface RecordedConfig {
  readonly options: PartialRunConfig;
  readonly origins: ResolvedConfig['origins'];
}

/** @throws UsageError if the folder is not that of a run */
export function readRecordedConfig(folder: RunFolder): RecordedConfig {
  if (!existsSync(folder.configJson))
    throw new UsageError(`${folder.path} is not a run folder: it has no config.json.`);
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(folder.configJson, 'utf8'));
  } catch (error) {
    throw new UsageError(`${folder.configJson} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const { options, origins } = (content ?? {}) as { options?: unknown; origins?: unknown };
  if (options === null || typeof options !== 'object')
    throw new UsageError(`${folder.configJson} is not the configuration of a run: it has no 'options'.`);
  return {
    options: validateOptions(options as Record<string, unknown>, folder.configJson),
    origins: origins !== null && typeof origins === 'object' ? origins : {},
  };
}

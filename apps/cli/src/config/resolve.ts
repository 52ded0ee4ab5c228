/** Puts the options of a run together: defaults < recipe < preset < configuration file < flags; remembers where each came from. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { UsageError } from '../errors.ts';
import { presetOptions } from '../presets.ts';
import { readConfigFile } from './config-file.ts';
import { refuseConflicts } from './conflicts.ts';
import { globalDefaults, isPretrained, recipeFor } from './defaults.ts';
import { flagName, optionKeys, runSchema, type OptionKey, type PartialRunConfig, type RunConfig } from './schema.ts';

export interface ConfigSources {
  /** Name of a preset. */
  readonly preset?: string;
  /** Path of a YAML file. */
  readonly configFile?: string;
  readonly flags: PartialRunConfig;
}

export interface ResolvedConfig {
  readonly config: RunConfig;
  /** Where each option that is set came from: `default`, `recipe`, `preset blog-accumulate`, `runs.yaml`, `command line`. */
  readonly origins: Readonly<Partial<Record<OptionKey, string>>>;
  /** Why the recipe's values were chosen. */
  readonly recipe: string;
}

/** @throws UsageError for what does not fit together, naming the options */
export function resolveConfig(sources: ConfigSources): ResolvedConfig {
  const given = readSources(sources);
  const explicit = explicitOptions(given);

  const recipe = recipeFor(explicit.data ?? (globalDefaults.data as string), explicit.model);
  const layers: Layer[] = [['default', globalDefaults], ['recipe', recipe.options], ...given];
  // Without windows there is nothing to accumulate; only a value that the user gave can conflict.
  const { strategy, devices = 1, numNodes = 1 } = explicit;
  if (strategy === undefined && devices * numNodes > 1)
    layers.splice(2, 0, [strategyForSeveral.origin, strategyForSeveral.options]);
  if (strategy === 'single') layers.splice(2, 0, ['strategy single', { accumulate: 1 }]);

  const merged: Record<string, unknown> = {};
  const origins: Partial<Record<OptionKey, string>> = {};
  for (const [origin, options] of layers)
    for (const key of optionKeys)
      if (options[key] !== undefined) {
        merged[key] = options[key];
        origins[key] = origin;
      }
  const result = runSchema.safeParse(merged);
  if (!result.success) throw new UsageError(`The options do not fit together: ${result.error.message}`);
  refuseConflicts(result.data, origins);
  return { config: { ...result.data, ...absolutePaths(result.data) }, origins, recipe: recipe.reason };
}

/** What holds where there are several ranks and nobody has chosen a strategy. */
export const strategyForSeveral = { origin: 'several ranks', options: { strategy: 'ddp' } } as const;

type Layer = readonly [origin: string, options: PartialRunConfig];

/** What the user gave, the weakest first. */
export function readSources(sources: ConfigSources): Layer[] {
  const given: Layer[] = [];
  if (sources.preset !== undefined) given.push([`preset ${sources.preset}`, presetOptions(sources.preset)]);
  if (sources.configFile !== undefined) given.push([sources.configFile, readConfigFile(sources.configFile)]);
  return [...given, ['command line', sources.flags]];
}

export function explicitOptions(given: readonly Layer[]): PartialRunConfig {
  return Object.assign({}, ...given.map(([, options]) => options)) as PartialRunConfig;
}

/** Paths of `options` that no longer depend on the working directory, so that a run can be resumed from anywhere. */
export function absolutePaths(options: PartialRunConfig): PartialRunConfig {
  const paths: { -readonly [K in 'dataPath' | 'tokenizer' | 'model']?: string } = {};
  for (const key of ['dataPath', 'tokenizer', 'model'] as const) {
    const value = options[key];
    if (value === undefined) continue;
    // Names of presets and hub ids stay as they are.
    if (key === 'dataPath' || (existsSync(value) && (key === 'tokenizer' || isPretrained(value))))
      paths[key] = resolve(value);
  }
  return paths;
}

/** Options under their flag names, as config.yaml and config.json hold them; what is unset is left out. */
export function namedOptions(config: PartialRunConfig): Record<string, unknown> {
  return Object.fromEntries(
    optionKeys.filter((key) => config[key] !== undefined).map((key) => [flagName(key), config[key]]),
  );
}

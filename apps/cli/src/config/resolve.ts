/** Puts the options of a run together: defaults < recipe < preset < configuration file < flags; remembers where each came from. */
import { UsageError } from '../errors.ts';
import { presetOptions } from '../presets.ts';
import { readConfigFile } from './config-file.ts';
import { refuseConflicts } from './conflicts.ts';
import { globalDefaults, recipeFor } from './defaults.ts';
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
  const given: [string, PartialRunConfig][] = [];
  if (sources.preset !== undefined) given.push([`preset ${sources.preset}`, presetOptions(sources.preset)]);
  if (sources.configFile !== undefined) given.push([sources.configFile, readConfigFile(sources.configFile)]);
  given.push(['command line', sources.flags]);
  const explicit = Object.assign({}, ...given.map(([, options]) => options)) as PartialRunConfig;

  const recipe = recipeFor(explicit.data ?? (globalDefaults.data as string), explicit.model);
  const layers: [string, PartialRunConfig][] = [['default', globalDefaults], ['recipe', recipe.options], ...given];
  // Without windows there is nothing to accumulate; only a value that the user gave can conflict.
  if (explicit.strategy === 'single') layers.splice(2, 0, ['strategy single', { accumulate: 1 }]);

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
  return { config: result.data, origins, recipe: recipe.reason };
}

/** Options under their flag names, as config.yaml and config.json hold them; what is unset is left out. */
export function namedOptions(config: PartialRunConfig): Record<string, unknown> {
  return Object.fromEntries(optionKeys.filter((key) => config[key] !== undefined).map((key) => [flagName(key), config[key]]));
}

/** Turns what a user wrote (flags or a file) into options, with messages that name the option and the nearest right value. */
import { closest, distance } from 'fastest-levenshtein';
import { UsageError } from '../errors.ts';
import {
  flagName,
  keyOfFlag,
  optionForm,
  optionKeys,
  runSchema,
  type OptionKey,
  type PartialRunConfig,
} from './schema.ts';

/**
 * @param raw option names (as flags or in camel case) with values
 * @param origin where they come from, for messages: `the command line`, `runs.yaml`
 * @throws UsageError
 */
export function validateOptions(raw: Readonly<Record<string, unknown>>, origin: string): PartialRunConfig {
  const options: Record<string, unknown> = {};
  for (const [given, value] of Object.entries(raw)) {
    const key = keyOfFlag(given);
    if (!isOptionKey(key))
      throw new UsageError(`Unknown option '${given}' in ${origin}.${suggest(given, optionKeys.map(flagName))}`);
    if (key in options) throw new UsageError(`Option '${flagName(key)}' is given twice in ${origin}.`);
    options[key] = validateOption(key, value, origin);
  }
  return options;
}

function validateOption(key: OptionKey, value: unknown, origin: string): unknown {
  const result = runSchema.shape[key].safeParse(value);
  if (result.success) return result.data;
  const form = optionForm(key);
  const shown = typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
  const problem =
    form.choices === undefined
      ? (result.error.issues[0]?.message ?? 'invalid value')
      : `expected one of ${form.choices.join(', ')}.${suggest(String(value), form.choices)}`;
  throw new UsageError(`Option --${flagName(key)}: ${shown} in ${origin} is not valid: ${problem}`);
}

function isOptionKey(key: string): key is OptionKey {
  return Object.hasOwn(runSchema.shape, key);
}

/** ` Did you mean 'x'?` where a known name is within about a third of the letters. */
export function suggest(given: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const nearest = closest(given.toLowerCase(), [...known]);
  return distance(given.toLowerCase(), nearest) <= Math.max(2, Math.floor(given.length / 3))
    ? ` Did you mean '${nearest}'?`
    : '';
}

/** Command-line flags made from the schema: `--micro-batch-size=<n>` for each option, in both spellings of commander. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { UsageError } from '../errors.ts';
import { globalDefaults } from './defaults.ts';
import { flagName, optionForm, type OptionKey, type PartialRunConfig } from './schema.ts';
import { suggest, validateOptions } from './validate.ts';

/** Adds the flags of `keys` to a command. Values arrive through `givenOptions`, so that unset flags stay unset. */
export function addOptionFlags(command: Command, keys: readonly OptionKey[]): Command {
  for (const key of keys) {
    const form = optionForm(key);
    const fallback = globalDefaults[key];
    const note = fallback === undefined ? '' : ` (default: ${String(fallback)})`;
    const flag = `--${flagName(key)}`;
    if (form.kind === 'switch') {
      command.addOption(new Option(flag, form.help + note).default(undefined));
      command.addOption(
        new Option(`--no-${flagName(key)}`, `the opposite of ${flag}`).default(undefined).hideHelp(fallback !== true),
      );
      continue;
    }
    const value = form.kind === 'number' ? 'n' : form.kind === 'choice' ? (form.choices ?? []).join('|') : 'value';
    const option = new Option(`${flag} <${value}>`, form.help + note);
    if (form.kind === 'number') option.argParser(parseNumber);
    command.addOption(option);
  }
  return command;
}

/** The options that the command line gives. @throws UsageError for a value out of bounds */
export function givenOptions(parsed: Readonly<Record<string, unknown>>, keys: readonly OptionKey[]): PartialRunConfig {
  const given = keys.filter((key) => parsed[key] !== undefined).map((key) => [key, parsed[key]] as const);
  return validateOptions(Object.fromEntries(given), 'the command line');
}

/** Accepts `16`, `5e-5`, `1_000`; refuses everything that is not wholly a number, and the empty string. */
function parseNumber(text: string): number {
  const value = Number(text.replaceAll('_', ''));
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('It is not a number.');
  return value;
}

/** @throws UsageError with the nearest name */
export function requireOneOf(kind: string, given: string, known: readonly string[]): void {
  if (!known.includes(given))
    throw new UsageError(`Unknown ${kind} '${given}'.${suggest(given, known)} Known: ${known.join(', ')}.`);
}

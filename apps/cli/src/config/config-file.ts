/** `--config file.yaml`: a mapping from flag names (without dashes in front) to values. JSON is YAML too. */
import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { UsageError } from '../errors.ts';
import type { PartialRunConfig } from './schema.ts';
import { validateOptions } from './validate.ts';

/** @throws UsageError for a file that is missing or no YAML mapping, an unknown key, or a value out of bounds */
export function readConfigFile(path: string): PartialRunConfig {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`Cannot read the configuration file ${path}: ${(error as Error).message}`, { cause: error });
  }
  const document = parseDocument(text, { prettyErrors: true });
  const first = document.errors[0];
  if (first !== undefined) throw new UsageError(`${path} is not valid YAML: ${first.message}`);
  const content: unknown = document.toJS();
  if (content === null) return {};
  if (typeof content !== 'object' || Array.isArray(content))
    throw new UsageError(`${path} must be a mapping from option names to values, such as 'micro-batch-size: 1'.`);
  return validateOptions(content as Record<string, unknown>, path);
}

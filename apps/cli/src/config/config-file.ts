/** `--config file.yaml`: a mapping from flag names (without dashes in front) to values. JSON is YAML too. */
import { readFileSync } from 'node:fs';
import { parseDocument, type Document } from 'yaml';
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
  const content = contentOf(document, path);
  if (content === null) return {};
  if (typeof content !== 'object' || Array.isArray(content))
    throw new UsageError(`${path} must be a mapping from option names to values, such as 'micro-batch-size: 1'.`);
  return validateOptions(content as Record<string, unknown>, path);
}

/** Aliases are resolved only here, and refused here: those of no anchor, and those that multiply without measure. */
function contentOf(document: Document.Parsed, path: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new UsageError(`${path} is not valid YAML: ${(error as Error).message}`, { cause: error });
  }
}

/** How a malformed reference case is reported: always the file and the key in it. */
import { TensorloomError } from '@tensorloom/core';
import type { z } from 'zod';

/** A malformed case: `key` is a path in the JSON (`optimizers.adam.lr`) or the name of a tensor (`weights/score.weight`). */
export function badCase(file: string, key: string, problem: string, cause?: unknown): TensorloomError {
  return new TensorloomError('BAD_FILE', `${file}: ${key}: ${problem}`, cause === undefined ? undefined : { cause });
}

/** Validates `value`, or throws `badCase` that lists every issue with its key. */
export function parseWith<T>(file: string, schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => `${issue.path.join('.') || '(top level)'}: ${issue.message}`);
  throw new TensorloomError('BAD_FILE', `${file}: ${issues.join('; ')}`);
}

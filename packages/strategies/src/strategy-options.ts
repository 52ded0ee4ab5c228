/** Options of strategies: checked by schema, with messages that say what was given and what there is. */
import { TensorloomError, type StrategyOptions } from '@tensorloom/core';
import { z } from 'zod';

/** Micro-batches in a full window, on each rank. */
export const accumulateOption = z
  .int('must be a whole number of micro-batches')
  .min(1, 'must be at least 1')
  .default(1);

/** Most megabytes of gradients that travel in one message. */
export const bucketMegabytesOption = z.number('must be a number').positive('must be above 0').default(25);

/** @throws TensorloomError `BAD_OPTION` naming every option that is unknown or out of range */
export function parseStrategyOptions<Shape extends z.ZodRawShape>(
  strategy: string,
  schema: z.ZodObject<Shape>,
  options: StrategyOptions,
): z.output<z.ZodObject<Shape>> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const known = Object.keys(schema.shape).join(', ');
  const problems = result.error.issues.map((issue) =>
    issue.code === 'unrecognized_keys'
      ? `it has no option ${issue.keys.map((key) => `'${key}'`).join(', ')} (it has: ${known})`
      : `${issue.path.join('.')} ${issue.message}; got ${JSON.stringify(issue.path.reduce<unknown>((value, key) => (value as StrategyOptions)[key as string], options))}`,
  );
  throw new TensorloomError('BAD_OPTION', `Strategy '${strategy}': ${problems.join('; ')}.`);
}

/** Hyper-parameters of PyTorch that the optimizers do not have: accepted where they change nothing, refused where they would. */
import { z } from 'zod';

/** They choose an implementation of the same arithmetic. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(['foreach', 'fused', 'capturable', 'differentiable']);

/**
 * Takes `null` for what is not set (the default), drops `initial_lr` where it is the rate itself, and refuses every other
 * key of which the result could depend: anything but `false`, `null` and what only chooses an implementation.
 */
export function withNeutralExtras<S extends z.ZodRawShape>(shape: S): z.ZodType<z.infer<z.ZodObject<S>>> {
  const known = new Set(Object.keys(shape));
  return z.preprocess((value, context) => {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
    const given: Record<string, unknown> = { ...value };
    const neutral = (key: string, setting: unknown): boolean =>
      setting === null ||
      setting === false ||
      WITHOUT_EFFECT.has(key) ||
      (key === 'initial_lr' && setting === given['lr']);
    for (const [key, setting] of Object.entries(given))
      if (!known.has(key) && !neutral(key, setting))
        context.addIssue({
          code: 'custom',
          path: [key],
          message: `${JSON.stringify(setting)} would change the result, and is not supported`,
        });
    return Object.fromEntries(Object.entries(given).filter(([key, setting]) => known.has(key) && setting !== null));
  }, z.object(shape));
}

/** What `decoupled_weight_decay` contradicts, or nothing: Adam and SGD decay through the gradient, AdamW does not. */
export function decayProblem(
  algorithm: 'adam' | 'adamw' | 'sgd',
  options: { readonly decoupled_weight_decay?: boolean | undefined; readonly weight_decay?: number | undefined },
): string | undefined {
  const { decoupled_weight_decay: decoupled, weight_decay: decay } = options;
  if (decoupled === undefined || decoupled === (algorithm === 'adamw')) return undefined;
  if (decay === 0 || (decay === undefined && algorithm !== 'adamw')) return undefined;
  return `${decoupled} would change the result: the decay of ${algorithm} is ${decoupled ? 'not ' : ''}decoupled`;
}

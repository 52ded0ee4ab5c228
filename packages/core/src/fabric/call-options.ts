/** Options of Fabric's calls during training, checked on each call: a mistyped one must not go unnoticed for an epoch. */
import { TensorloomError, suggestion } from '../errors.ts';
import type { BackwardRequest, ClipOptions, StepOptions } from '../strategies/strategy.ts';

/** Both have defaults: items from what the closure returns, endOfEpoch from the loader that delivered the batch. */
export type BackwardOptions = Partial<BackwardRequest>;

/** Options of `fabric.clipGradients`. */
export interface ClipGradientsOptions {
  /** Largest global norm; `maxNorm` is another name of it. Exactly one of norm and value is given. */
  readonly clipNorm?: number;
  readonly maxNorm?: number;
  /** Largest absolute value of an element. */
  readonly clipValue?: number;
  /** 2 (default), 1, or Infinity. */
  readonly normType?: number;
  /** Throw if the norm is NaN or infinite (default false: the step is skipped). */
  readonly errorIfNonfinite?: boolean;
}

export function checkBackwardOptions(options: BackwardOptions): void {
  checkNames('backward', options, ['items', 'endOfEpoch']);
  if (options.items !== undefined && !(Number.isFinite(options.items) && options.items >= 0))
    throw new TensorloomError(
      'BAD_OPTION',
      `fabric.backward: items is ${options.items}; expected the number of items that the loss is the mean over.`,
    );
}

export function checkStepOptions(options: StepOptions): void {
  checkNames('step', options, ['clipNorm', 'clipValue', 'flush', 'discard']);
  if (options.clipNorm !== undefined && options.clipValue !== undefined)
    throw new TensorloomError(
      'CONFLICTING_OPTIONS',
      'fabric.step: clipNorm and clipValue are both given; give one of them.',
    );
  checkPositive('step', options);
}

/** @throws TensorloomError `CONFLICTING_OPTIONS` unless exactly one of norm and value is given; `BAD_OPTION` */
export function checkClipOptions(options: ClipGradientsOptions): ClipOptions {
  checkNames('clipGradients', options, ['clipNorm', 'maxNorm', 'clipValue', 'normType', 'errorIfNonfinite']);
  const { clipNorm, maxNorm, clipValue, normType } = options;
  const given = Object.entries({ clipNorm, maxNorm, clipValue }).filter(([, value]) => value !== undefined);
  if (given.length !== 1)
    throw new TensorloomError(
      'CONFLICTING_OPTIONS',
      `fabric.clipGradients takes exactly one of clipNorm (or maxNorm) and clipValue; got ${given.map(([name]) => name).join(' and ') || 'none'}.`,
    );
  checkPositive('clipGradients', { clipNorm, maxNorm, clipValue, normType });
  const norm = clipNorm ?? maxNorm;
  return {
    ...(norm === undefined ? {} : { clipNorm: norm }),
    ...(clipValue === undefined ? {} : { clipValue }),
    ...(normType === undefined ? {} : { normType }),
  };
}

function checkNames(call: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options))
    if (!known.includes(name))
      throw new TensorloomError(
        'BAD_OPTION',
        `fabric.${call}: unknown option '${name}'.${suggestion(name, known)} Known: ${known.join(', ')}.`,
      );
}

function checkPositive(call: string, options: object): void {
  for (const [name, value] of Object.entries(options) as [string, unknown][])
    if (value !== undefined && typeof value !== 'boolean' && !(typeof value === 'number' && value > 0))
      throw new TensorloomError(
        'BAD_OPTION',
        `fabric.${call}: ${name} is ${JSON.stringify(value) ?? typeof value}; expected a number above 0.`,
      );
}

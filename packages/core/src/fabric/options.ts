/** What `new Fabric` takes: checked once, merged with a launcher's environment, conflicts named. */
import * as z from 'zod';
import type { Accelerator } from '../accelerators/accelerator.ts';
import { TensorloomError, suggestion } from '../errors.ts';
import type { Logger } from '../loggers/logger.ts';
import { precisionName } from '../precision/select.ts';
import type { Precision } from '../precision/precision.ts';
import type { Strategy, StrategyOptions } from '../strategies/strategy.ts';
import type { Plugin } from './plugins.ts';

/** Options of `new Fabric`; all have defaults. */
export interface FabricOptions {
  /** A registered name, an instance, or `auto` (default): the best that is there. */
  readonly accelerator?: string | Accelerator;
  /**
   * How many devices on each machine, a list of their indices, or `auto`: what a launcher has started, else all GPUs, else one.
   * Default: what a launcher has started, else 1.
   */
  readonly devices?: number | readonly number[] | 'auto';
  /** Machines (default: what a launcher has started, else 1). */
  readonly numNodes?: number;
  /** A registered name, an instance, or `auto` (default): `single` on one device, `ddp` on several. */
  readonly strategy?: string | Strategy;
  /** For a strategy given by name; each validates its own. */
  readonly strategyOptions?: StrategyOptions;
  /** `32-true` (default), `64-true`, `16-mixed`, `bf16-mixed`, `16-true`, `bf16-true`, short forms 64, 32, 16, bf16, or an instance. */
  readonly precision?: string | number | Precision;
  /** How ranks talk: a registered name (default `auto`). One rank alone needs none. An instance is given among `plugins`. */
  readonly processGroup?: string;
  /** For a process group given by name; each validates its own. */
  readonly processGroupOptions?: Readonly<Record<string, unknown>>;
  /** How long a collective waits for ranks that do not come, in milliseconds (default 10 minutes). */
  readonly collectiveTimeoutMs?: number;
  /** How long a rank may give no sign of life, and how long ranks wait for each other at the start, in milliseconds (default 30 seconds). */
  readonly rankTimeoutMs?: number;
  /** CPU threads of this rank's accelerator (default: what a launcher gives it, else the accelerator's own choice). */
  readonly threads?: number;
  /** Run transformer blocks as one operation each, where the accelerator has a compiler (default false). */
  readonly compile?: boolean;
  /** Keep only the inputs of transformer blocks for backward, which computes them again: less memory, more work (default false). */
  readonly activationCheckpointing?: boolean;
  readonly loggers?: Logger | readonly Logger[];
  /** Objects with hooks for `fabric.call`. */
  readonly callbacks?: object | readonly object[];
  /** A `Precision`, `CheckpointIO`, `ClusterEnvironment` or `ProcessGroup` of the user's own; at most one of each. */
  readonly plugins?: readonly Plugin[];
  /** Steps skipped in a row, for losses or gradients that are not finite, before training stops (default 10). */
  readonly maxSkippedSteps?: number;
}

export interface ResolvedOptions {
  readonly accelerator: string | Accelerator;
  /** Undefined where neither script nor launcher gave one; so for `numNodes`. */
  readonly devices: number | readonly number[] | 'auto' | undefined;
  readonly numNodes: number | undefined;
  readonly strategy: string | Strategy;
  readonly strategyOptions: StrategyOptions;
  /** Undefined where neither script nor environment gave one. */
  readonly precision: string | Precision | undefined;
  readonly processGroup: string;
  readonly processGroupOptions: Readonly<Record<string, unknown>>;
  readonly collectiveTimeoutMs: number | undefined;
  readonly rankTimeoutMs: number | undefined;
  readonly threads: number | undefined;
  readonly compile: boolean;
  readonly activationCheckpointing: boolean;
  readonly loggers: readonly Logger[];
  readonly callbacks: readonly object[];
  readonly plugins: readonly Plugin[];
  readonly maxSkippedSteps: number;
}

const object = z.custom<object>((value) => typeof value === 'object' && value !== null, 'expected an object');
const nameOrInstance = z.union([z.string().min(1), object], 'expected a name or an instance');
const count = z.int('expected a whole number of at least 1').min(1, 'expected a whole number of at least 1');
const milliseconds = z.number('expected milliseconds above 0').positive('expected milliseconds above 0');
const oneOrMany = z.union([z.array(object), object], 'expected an object or a list of them');

const schema = z.strictObject({
  accelerator: nameOrInstance.optional(),
  devices: z.custom(isDevices, "expected a number of devices, 'auto' or a list of device indices").optional(),
  numNodes: count.optional(),
  strategy: nameOrInstance.optional(),
  strategyOptions: z.record(z.string(), z.unknown(), 'expected an object').optional(),
  precision: z.union([z.string().min(1), z.number(), object], 'expected a name, 64, 32, 16, or an instance').optional(),
  processGroup: z.string('expected a registered name; an instance is given among plugins').min(1).optional(),
  processGroupOptions: z.record(z.string(), z.unknown(), 'expected an object').optional(),
  collectiveTimeoutMs: milliseconds.optional(),
  rankTimeoutMs: milliseconds.optional(),
  threads: count.optional(),
  compile: z.boolean('expected true or false').optional(),
  activationCheckpointing: z.boolean('expected true or false').optional(),
  loggers: oneOrMany.optional(),
  callbacks: oneOrMany.optional(),
  plugins: z.array(object, 'expected a list').optional(),
  maxSkippedSteps: count.optional(),
});

/**
 * @param environment for what a launcher passes down: `TENSORLOOM_ACCELERATOR`, `_STRATEGY`, `_DEVICES`, `_PRECISION`, `_PROCESS_GROUP`, `_THREADS`
 * @throws TensorloomError `BAD_OPTION` naming each bad or unknown option, `CONFLICTING_OPTIONS`
 */
export function resolveOptions(
  given: FabricOptions,
  environment: Readonly<Record<string, string | undefined>>,
): ResolvedOptions {
  const parsed = schema.safeParse(given);
  if (!parsed.success)
    throw new TensorloomError('BAD_OPTION', `Fabric: ${parsed.error.issues.map(describeIssue).join('; ')}.`);
  if (given.strategyOptions !== undefined && typeof given.strategy === 'object')
    throw new TensorloomError(
      'CONFLICTING_OPTIONS',
      `Fabric: strategy is an instance ('${given.strategy.name}') and strategyOptions are given too; give the options to the instance, or the strategy by name.`,
    );
  const fromLauncher = launcherValues(environment);
  return {
    accelerator: agreed('accelerator', given.accelerator, fromLauncher.accelerator) ?? 'auto',
    devices: agreed('devices', given.devices, fromLauncher.devices),
    numNodes: given.numNodes,
    strategy: agreed('strategy', given.strategy, fromLauncher.strategy) ?? 'auto',
    strategyOptions: given.strategyOptions ?? {},
    precision: agreed(
      'precision',
      typeof given.precision === 'number' ? String(given.precision) : given.precision,
      fromLauncher.precision,
    ),
    processGroup: agreed('processGroup', given.processGroup, fromLauncher.processGroup) ?? 'auto',
    processGroupOptions: given.processGroupOptions ?? {},
    collectiveTimeoutMs: given.collectiveTimeoutMs,
    rankTimeoutMs: given.rankTimeoutMs,
    threads: given.threads ?? fromLauncher.threads,
    compile: given.compile ?? false,
    activationCheckpointing: given.activationCheckpointing ?? false,
    loggers: list(given.loggers),
    callbacks: list(given.callbacks),
    plugins: given.plugins ?? [],
    maxSkippedSteps: given.maxSkippedSteps ?? 10,
  };
}

function isDevices(value: unknown): boolean {
  const whole = (number: unknown, atLeast: number): boolean =>
    Number.isInteger(number) && (number as number) >= atLeast;
  return (
    value === 'auto' ||
    whole(value, 1) ||
    (Array.isArray(value) && value.length > 0 && value.every((index) => whole(index, 0)))
  );
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys')
    return issue.keys
      .map(
        (key) =>
          `unknown option '${key}'.${suggestion(key, Object.keys(schema.shape))} Known: ${Object.keys(schema.shape).join(', ')}`,
      )
      .join('; ');
  return `option '${issue.path.join('.')}': ${issue.message}`;
}

interface LauncherValues {
  readonly accelerator: string | undefined;
  readonly strategy: string | undefined;
  readonly devices: number | 'auto' | undefined;
  readonly precision: string | undefined;
  readonly processGroup: string | undefined;
  readonly threads: number | undefined;
}

function launcherValues(environment: Readonly<Record<string, string | undefined>>): LauncherValues {
  const value = (name: string): string | undefined => environment[`TENSORLOOM_${name}`] || undefined;
  const devices = value('DEVICES');
  if (devices !== undefined && devices !== 'auto' && !/^[1-9]\d*$/.test(devices))
    throw new TensorloomError(
      'BAD_OPTION',
      `TENSORLOOM_DEVICES is '${devices}'; expected a number of devices or 'auto'.`,
    );
  const threads = value('THREADS');
  if (threads !== undefined && !/^[1-9]\d*$/.test(threads))
    throw new TensorloomError('BAD_OPTION', `TENSORLOOM_THREADS is '${threads}'; expected a number of threads.`);
  return {
    accelerator: value('ACCELERATOR'),
    strategy: value('STRATEGY'),
    devices: devices === undefined || devices === 'auto' ? devices : Number(devices),
    precision: value('PRECISION'),
    processGroup: value('PROCESS_GROUP'),
    threads: threads === undefined ? undefined : Number(threads),
  };
}

/** The script's value, else the launcher's; where both say something they must say the same. */
function agreed<T, U>(option: string, script: T | undefined, launcher: U | undefined): T | U | undefined {
  if (launcher === undefined || launcher === 'auto') return script;
  if (script === undefined || script === 'auto') return launcher;
  const shown =
    typeof script === 'object'
      ? ((script as { readonly name?: string }).name ?? JSON.stringify(script))
      : String(script);
  const comparable = (value: unknown): string =>
    option === 'precision' ? precisionName(String(value)) : String(value);
  // A list of devices is as many of them.
  const asked = Array.isArray(script) ? script.length : shown;
  if (comparable(asked) !== comparable(launcher))
    throw new TensorloomError(
      'CONFLICTING_OPTIONS',
      `Fabric: the script asks for ${option} '${shown}', the launcher (TENSORLOOM_${option.replace(/[A-Z]/g, '_$&').toUpperCase()}) for '${String(launcher)}'; leave one of them out.`,
    );
  return script;
}

function list<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? (value as readonly T[]) : [value as T];
}

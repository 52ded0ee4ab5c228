/** Reads an optimizer's stored state, checking all of it before anything is changed. */
import { TensorloomError } from '../errors.ts';
import type { Parameter } from '../modules/parameter.ts';
import type { JsonObject, StoredState, StoredTensor } from '../stateful.ts';
import { tf } from '../tensors.ts';
import type { ParameterGroup } from './optimizer.ts';
import { ParameterState } from './parameter-state.ts';

interface OptimizerState {
  /** How to make the state of each parameter that has one. */
  readonly states: ReadonlyMap<Parameter, () => ParameterState>;
  /** Hyper-parameters of each group. */
  readonly groups: readonly JsonObject[];
}

/** The optimizer that is to take the state. */
interface Target {
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** Names of parameters of which this rank has no part. */
  readonly elsewhere: ReadonlySet<string>;
  readonly momentNames: readonly string[];
  readonly groups: readonly ParameterGroup[];
  /** Refuse unexpected names. */
  readonly strict: boolean;
}

/** @throws TensorloomError `BAD_CHECKPOINT` naming everything that does not fit */
export function readOptimizerState(
  stored: StoredState,
  { parameters, elsewhere, momentNames, groups: currentGroups, strict }: Target,
): OptimizerState {
  const problems: string[] = [];
  const steps = isObject(stored.values['steps']) ? stored.values['steps'] : {};
  const groups = Array.isArray(stored.values['groups']) ? stored.values['groups'].filter(isObject) : [];
  if (groups.length !== currentGroups.length)
    problems.push(`it has ${groups.length} parameter groups, this optimizer has ${currentGroups.length}`);

  const states = new Map<Parameter, () => ParameterState>();
  const used = new Set<string>();
  for (const [name, count] of Object.entries(steps)) {
    const parameter = parameters.get(name);
    if (parameter === undefined) {
      if (strict && !elsewhere.has(name)) problems.push(`unexpected parameter: ${name}`);
      for (const key of ['rows', ...momentNames]) used.add(`${name}.${key}`);
      continue;
    }
    if (typeof count !== 'number' || !Number.isInteger(count) || count < 0) {
      problems.push(`the step count of ${name} is ${JSON.stringify(count)}`);
      continue;
    }
    const rows = stored.tensors.get(`${name}.rows`);
    const whole = parameter.placement?.wholeShape ?? parameter.shape;
    const shape = rows === undefined ? whole : [rows.shape[0] as number, whole[1] as number];
    if (rows !== undefined) used.add(`${name}.rows`);
    const moments = momentNames.flatMap((moment) => {
      const key = `${name}.${moment}`;
      used.add(key);
      const tensor = stored.tensors.get(key);
      if (tensor === undefined) problems.push(`missing: ${key}`);
      else if (!tf.util.arraysEqual([...tensor.shape], [...shape]))
        problems.push(`shape of ${key}: stored [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]`);
      return tensor === undefined ? [] : [tensor];
    });
    states.set(parameter, () => restore(parameter, momentNames, count, moments, rows));
  }
  if (strict) for (const key of stored.tensors.keys()) if (!used.has(key)) problems.push(`unexpected: ${key}`);
  if (problems.length > 0)
    throw new TensorloomError(
      'BAD_CHECKPOINT',
      `The stored state does not fit this optimizer:\n  ${problems.join('\n  ')}`,
    );
  return { states, groups: groups.map(({ parameters: _names, ...options }) => options) };
}

function restore(
  parameter: Parameter,
  momentNames: readonly string[],
  steps: number,
  moments: readonly StoredTensor[],
  rows: StoredTensor | undefined,
): ParameterState {
  const state = new ParameterState(parameter, momentNames);
  state.steps = steps;
  if (rows === undefined) {
    if (moments.length > 0)
      state.dense = moments.map((moment) =>
        tf.tensor(parameter.readStored(moment).data, [...parameter.shape], 'float32'),
      );
  } else {
    const own = ownRows(rows.read().data as Int32Array, parameter);
    state.rows.restore(
      Int32Array.from(own, ({ row }) => row),
      moments.map((moment) => readRows(moment, own)),
    );
  }
  return state;
}

/** A row of this rank's and its place among those stored. */
interface OwnRow {
  readonly row: number;
  readonly place: number;
}

/** Those of the stored row numbers (of the whole table) that are rows of `parameter`, in its own numbering. */
function ownRows(stored: Int32Array, parameter: Parameter): OwnRow[] {
  const firstRow = parameter.placement?.firstRow ?? 0;
  const numRows = parameter.shape[0] as number;
  return [...stored].flatMap((number, place) => {
    const row = number - firstRow;
    return row >= 0 && row < numRows ? [{ row, place }] : [];
  });
}

/** Reads runs of rows that are stored side by side together. */
function readRows(stored: StoredTensor, rows: readonly OwnRow[]): Float32Array {
  const width = stored.shape[1] as number;
  const result = new Float32Array(rows.length * width);
  for (let from = 0, to = 0; from < rows.length; from = to) {
    const start = (rows[from] as OwnRow).place;
    while (to < rows.length && (rows[to] as OwnRow).place === start + to - from) to++;
    result.set(stored.readRows(start, start + to - from).data, from * width);
  }
  return result;
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

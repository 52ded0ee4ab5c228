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

/** @throws TensorloomError `BAD_CHECKPOINT` naming everything that does not fit */
export function readOptimizerState(
  stored: StoredState,
  parameters: ReadonlyMap<string, Parameter>,
  momentNames: readonly string[],
  currentGroups: readonly ParameterGroup[],
  strict: boolean,
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
      if (strict) problems.push(`unexpected parameter: ${name}`);
      for (const key of ['rows', ...momentNames]) used.add(`${name}.${key}`);
      continue;
    }
    if (typeof count !== 'number' || !Number.isInteger(count) || count < 0) {
      problems.push(`the step count of ${name} is ${JSON.stringify(count)}`);
      continue;
    }
    const rows = stored.tensors.get(`${name}.rows`);
    const shape = rows === undefined ? parameter.shape : [rows.shape[0] as number, parameter.shape[1] as number];
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
    if (moments.length > 0) state.dense = moments.map((moment) => read(moment, parameter.shape));
  } else
    state.rows.restore(
      rows.read().data as Int32Array,
      moments.map((moment) => moment.read().data as Float32Array),
    );
  return state;
}

function read(stored: StoredTensor, shape: readonly number[]): tf.Tensor {
  const { data } = stored.read();
  return tf.tensor(data, [...shape], 'float32');
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

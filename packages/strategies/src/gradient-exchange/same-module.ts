/** Makes a module the same on all ranks: refuses different ones, then rank zero's values go to all. */
import { createHash } from 'node:crypto';
import {
  hostValues,
  TensorloomError,
  tf,
  withActivationStorage,
  type Module,
  type Parameter,
  type StrategyContext,
} from '@tensorloom/core';

/** Elements sent at a time, so that no second copy of a large table is ever held. */
const CHUNK_ELEMENTS = 4 * 1024 * 1024;

/** @throws TensorloomError `COLLECTIVE_MISMATCH` naming the ranks and the first parameter that differs in name, shape or in being frozen */
export async function checkSameModule({ processGroup }: StrategyContext, module: Module): Promise<void> {
  const lines = [...module.namedParameters()].map(
    ([name, { shape, requiresGrad }]) => `${name} [${shape.join(', ')}]${requiresGrad ? '' : ' (frozen)'}`,
  );
  const digest = createHash('sha256').update(lines.join('\n')).digest('hex');
  const digests = await processGroup.allGatherObject(digest);
  const others = digests.flatMap((each, rank) => (each === digests[0] ? [] : [rank]));
  if (others.length === 0) return;
  const all = await processGroup.allGatherObject(lines);
  const other = others[0] as number;
  const [first, second] = [all[0] ?? [], all[other] ?? []];
  const at = first.findIndex((line, i) => line !== second[i]);
  const place = at === -1 ? first.length : at;
  throw new TensorloomError(
    'COLLECTIVE_MISMATCH',
    `The ranks set up different modules: parameter ${place + 1} is ${first[place] ?? '(none)'} on rank 0 and ${second[place] ?? '(none)'} on rank ${other}` +
      `${others.length > 1 ? ` (ranks ${others.join(', ')} differ from rank 0)` : ''}. Build the same model on every rank.`,
  );
}

/** Rank zero's parameters go to all ranks, those in host memory too. */
export async function broadcastParameters(context: StrategyContext, module: Module): Promise<void> {
  const { processGroup: group, accelerator, precision } = context;
  const parameters = module.parameters();
  const largest = Math.max(0, ...parameters.map(({ size }) => size));
  const chunk = group.allocate('float32', Math.min(CHUNK_ELEMENTS, largest));
  for (const parameter of parameters) {
    const isSource = group.rank === 0;
    const own = isSource ? (parameter.onHost ? parameter.hostData() : hostValues(parameter.value)) : null;
    const received = isSource ? null : new Float32Array(parameter.size);
    for (let from = 0; from < parameter.size; from += CHUNK_ELEMENTS) {
      const part = chunk.subarray(0, Math.min(CHUNK_ELEMENTS, parameter.size - from));
      if (own !== null) part.set(own.subarray(from, from + part.length));
      await group.broadcast(part, 0);
      received?.set(part, from);
    }
    if (received !== null)
      withActivationStorage(accelerator, precision.parameterStorage, () => setValues(parameter, received));
  }
}

/** Replaces a parameter's value, which stays where it lives; takes `values` over. */
export function setValues(parameter: Parameter, values: Float32Array<ArrayBuffer>): void {
  if (parameter.onHost) parameter.updateOnHost((data) => data.set(values));
  else parameter.assign(tf.tensor(values, [...parameter.shape], 'float32'));
}

/** JSON that keeps what JSON loses: numbers that are not finite, and negative zero. */
import { TensorloomError } from '../errors.ts';
import type { Json, JsonObject } from '../stateful.ts';

const mark = '$number';

/**
 * A copy of `value` that survives `JSON.stringify`.
 * @param where for messages: `state.history[3]`
 * @throws TensorloomError `MISUSE` for what has no place in JSON, naming where it is
 */
export function encodeJson(value: unknown, where: string): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number')
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { [mark]: Object.is(value, -0) ? '-0' : String(value) };
  if (Array.isArray(value)) return value.map((entry, index) => encodeJson(entry, `${where}[${index}]`));
  if (
    typeof value === 'object' &&
    (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)
  ) {
    if (mark in value) throw new TensorloomError('MISUSE', `${where} has a key '${mark}', which is reserved.`);
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, entry]) => entry !== undefined)
        .map(([key, entry]) => [key, encodeJson(entry, `${where}.${key}`)]),
    );
  }
  const shown = typeof value === 'object' ? `a ${value.constructor.name}` : typeof value;
  throw new TensorloomError(
    'MISUSE',
    `${where} is ${shown}, which a checkpoint cannot hold: give JSON values, or an object with stateDict and loadStateDict.`,
  );
}

/** Undoes `encodeJson`. */
export function decodeJson(value: Json): Json {
  if (Array.isArray(value)) return value.map(decodeJson);
  if (value === null || typeof value !== 'object') return value;
  const marked = value[mark];
  if (typeof marked === 'string') return Number(marked);
  return decodeJsonObject(value);
}

export function decodeJsonObject(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, decodeJson(entry)]));
}

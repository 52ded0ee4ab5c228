/** Reading a launcher's or scheduler's variables: each problem names the variable, its value and what is expected. */
import { readFileSync } from 'node:fs';
import type { ClusterEnvironment } from '@tensorloom/core';
import { TensorloomError } from '@tensorloom/core/distributed';

/** As `process.env`. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** Variables of one environment. The first of several names that is set counts. */
export class VariableReader {
  constructor(
    readonly environment: string,
    readonly variables: Variables,
  ) {}

  /** The value of the first of `names` that is set and not empty, else undefined. */
  text(...names: string[]): string | undefined {
    return this.#find(names)?.value;
  }

  /** @throws TensorloomError `BAD_OPTION` where none is set */
  requiredText(expected: string, ...names: string[]): string {
    const found = this.#find(names);
    if (found === undefined) throw this.missing(expected, ...names);
    return found.value;
  }

  /** A whole number from `low` to `high`, or undefined where no variable is set. @throws TensorloomError `BAD_OPTION` */
  integer(low: number, high: number, ...names: string[]): number | undefined {
    const found = this.#find(names);
    if (found === undefined) return undefined;
    const { name, value } = found;
    const number = /^\d{1,9}$/.test(value) ? Number(value) : NaN;
    if (number >= low && number <= high) return number;
    throw this.bad(name, `expected a whole number ${high >= MAX ? `of at least ${low}` : `from ${low} to ${high}`}`);
  }

  /** @throws TensorloomError `BAD_OPTION` */
  requiredInteger(expected: string, low: number, high: number, ...names: string[]): number {
    const value = this.integer(low, high, ...names);
    if (value === undefined) throw this.missing(expected, ...names);
    return value;
  }

  /** Ranks of the job. @throws TensorloomError `BAD_OPTION` */
  requiredCount(expected: string, ...names: string[]): number {
    return this.requiredInteger(expected, 1, MAX, ...names);
  }

  count(...names: string[]): number | undefined {
    return this.integer(1, MAX, ...names);
  }

  port(...names: string[]): number | undefined {
    return this.integer(1, 65_535, ...names);
  }

  /**
   * The secret of the job: `TENSORLOOM_TOKEN`, or the first line of the file that `TENSORLOOM_TOKEN_FILE` names.
   * @throws TensorloomError `BAD_OPTION` for an empty token and for a file that cannot be read
   */
  token(): string | undefined {
    return readToken(this.variables, this.environment);
  }

  bad(name: string, expected: string): TensorloomError {
    const given = this.variables[name];
    return new TensorloomError('BAD_OPTION', `${this.environment}: ${name} is '${given ?? ''}'; ${expected}.`);
  }

  missing(expected: string, ...names: string[]): TensorloomError {
    const which = names.length === 1 ? `${names[0] ?? ''} is not set` : `none of ${names.join(', ')} is set`;
    return new TensorloomError(
      'BAD_OPTION',
      `${this.environment}: ${which}; expected ${expected}. Set it, or unset ${this.environment}'s other variables.`,
    );
  }

  #find(names: readonly string[]): { readonly name: string; readonly value: string } | undefined {
    for (const name of names) {
      const value = this.variables[name];
      if (value !== undefined && value !== '') return { name, value };
    }
    return undefined;
  }
}

const MAX = Number.MAX_SAFE_INTEGER;

/** See `VariableReader.token`. @param who for messages */
export function readToken(variables: Variables, who: string): string | undefined {
  const given = variables['TENSORLOOM_TOKEN'];
  if (given !== undefined) {
    if (given.trim() !== '') return given.trim();
    throw new TensorloomError(
      'BAD_OPTION',
      `${who}: TENSORLOOM_TOKEN is empty; expected the job's secret, or no such variable.`,
    );
  }
  const file = variables['TENSORLOOM_TOKEN_FILE'];
  if (file === undefined || file === '') return undefined;
  const token = firstLine(file, who);
  if (token !== '') return token;
  throw new TensorloomError(
    'BAD_OPTION',
    `${who}: TENSORLOOM_TOKEN_FILE is '${file}', and that file is empty; expected the job's secret in it.`,
  );
}

function firstLine(file: string, who: string): string {
  try {
    return (readFileSync(file, 'utf8').split('\n', 1)[0] as string).trim();
  } catch (error) {
    throw new TensorloomError(
      'BAD_OPTION',
      `${who}: TENSORLOOM_TOKEN_FILE is '${file}', which cannot be read (${(error as Error).message}); expected a file with the job's secret.`,
      { cause: error },
    );
  }
}

/** A job id of the characters that are allowed in one, at most 64 long. */
export function jobIdOf(...parts: readonly (string | number | undefined)[]): string {
  const text = parts.filter((part) => part !== undefined && part !== '').join('-');
  return text.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 64);
}

/**
 * Checks what every environment must obey.
 * @param names the variables that say it, for messages
 * @throws TensorloomError `BAD_OPTION` naming the variables that contradict each other
 */
export function checked(
  environment: ClusterEnvironment,
  names: {
    readonly rank: string;
    readonly world: string;
    readonly localRank: string;
    readonly localWorld: string;
    readonly node: string;
  },
): ClusterEnvironment {
  const { globalRank, worldSize, localRank, localWorldSize, nodeRank, numNodes } = environment;
  const fail = (problem: string): never => {
    throw new TensorloomError('BAD_OPTION', `${environment.name}: ${problem}.`);
  };
  if (localRank >= localWorldSize)
    fail(
      `${names.localRank} is ${localRank}, but ${names.localWorld} is ${localWorldSize}; ranks of a node are 0 to ${localWorldSize - 1}`,
    );
  if (globalRank >= worldSize)
    fail(`${names.rank} is ${globalRank}, but ${names.world} is ${worldSize}; ranks are 0 to ${worldSize - 1}`);
  if (localWorldSize > worldSize)
    fail(`${names.localWorld} is ${localWorldSize}, more than ${names.world}, which is ${worldSize}`);
  if (nodeRank >= numNodes)
    fail(`${names.node} is ${nodeRank}, but there are ${numNodes} nodes; expected 0 to ${numNodes - 1}`);
  return environment;
}

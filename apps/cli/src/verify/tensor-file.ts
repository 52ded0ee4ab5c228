/** The tensors of one reference case, grouped by what stands before the first slash of their names. */
import {
  openSafetensors,
  TensorloomError,
  type HostTensor,
  type SafetensorsFile,
  type StoredTensor,
} from '@tensorloom/core';
import { badCase } from './case-error.ts';

export class TensorFile {
  readonly #file: SafetensorsFile;

  /** @throws TensorloomError `BAD_FILE` naming the file */
  constructor(readonly path: string) {
    try {
      this.#file = openSafetensors(path);
    } catch (error) {
      if (error instanceof TensorloomError && error.message.includes(path)) throw error;
      throw badCase(path, '(file)', error instanceof Error ? error.message : String(error), error);
    }
  }

  /** What stands before the slashes: `weights`, `inputs`, `grads`, `adam`, … */
  groups(): string[] {
    return [...new Set([...this.#file.tensors.keys()].map((name) => name.split('/', 1)[0] as string))];
  }

  /** The tensors of a group, by their names after the slash; empty if the group is absent. */
  group(name: string): Map<string, StoredTensor> {
    const prefix = `${name}/`;
    return new Map(
      [...this.#file.tensors]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, tensor]) => [key.slice(prefix.length), tensor]),
    );
  }

  /**
   * The tensors of a group that holds a model's parameters, under the names of a model with a head: parts of the body
   * carry `transformer.`, whether the file has it or not. The copy of the table that stands for a tied head is left out.
   * @throws TensorloomError `BAD_FILE` if the file has a parameter under both names
   */
  parameterGroup(name: string): Map<string, StoredTensor> {
    const result = new Map<string, StoredTensor>();
    for (const [key, tensor] of this.group(name)) {
      if (key === 'lm_head.weight') continue;
      const full = key === 'score.weight' || key.startsWith('transformer.') ? key : `transformer.${key}`;
      if (result.has(full)) throw badCase(this.path, `${name}/${key}`, `given twice, also as ${name}/${full}`);
      result.set(full, tensor);
    }
    return result;
  }

  has(name: string): boolean {
    return this.#file.tensors.has(name);
  }

  shape(name: string): readonly number[] {
    return this.#get(name).shape;
  }

  read(name: string): HostTensor {
    return this.#get(name).read();
  }

  /** @throws TensorloomError `BAD_FILE` if it is absent or holds anything but whole numbers */
  readIntegers(name: string): Int32Array {
    const { data } = this.read(name);
    if (data instanceof Int32Array) return data;
    throw badCase(this.path, name, 'expected an integer tensor (I32 or I64)');
  }

  close(): void {
    this.#file.close();
  }

  #get(name: string): StoredTensor {
    const tensor = this.#file.tensors.get(name);
    if (tensor === undefined) throw badCase(this.path, name, 'no such tensor');
    return tensor;
  }
}

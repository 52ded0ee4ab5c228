/** Base class of everything with parameters: a tree of modules found through its own fields, as in PyTorch. */
import { TensorloomError } from '../errors.ts';
import type { LoadOptions, StateDict, Stateful, StoredState } from '../stateful.ts';
import { tf, type Tensor } from '../tensors.ts';
import { Parameter } from './parameter.ts';

/**
 * A subclass declares parameters and child modules as fields and implements `forward`. Names in state dicts are the
 * field names in snake_case joined by dots (`denseHTo4h` → `dense_h_to_4h`), as in Hugging Face's files; elements of an
 * array field are named by index (`h.0.input_layernorm.weight`).
 */
export abstract class Module implements Stateful {
  /** Dropout and the like are active; set by `train()` and `eval()`. */
  training = true;

  /** The computation. Subclasses narrow the types; `fabric.setup` runs it under the precision. */
  abstract forward(...inputs: never[]): unknown;

  /** This module's own parameters and those of all modules below it, in field order. A shared parameter comes once. */
  *namedParameters(prefix = ''): Generator<[string, Parameter]> {
    const seen = new Set<Parameter>();
    for (const [name, module] of this.namedModules(prefix))
      for (const [field, value] of Object.entries(module))
        if (value instanceof Parameter && !seen.has(value)) {
          seen.add(value);
          yield [join(name, snakeCase(field)), value];
        }
  }

  /** All trainable and frozen parameters; sets each one's `name`. */
  parameters(): Parameter[] {
    return [...this.namedParameters()].map(([name, parameter]) => {
      parameter.name = name;
      return parameter;
    });
  }

  /** This module (named `prefix`) and all below it, depth first. */
  *namedModules(prefix = ''): Generator<[string, Module]> {
    yield [prefix, this];
    for (const [field, value] of Object.entries(this)) {
      const name = join(prefix, snakeCase(field));
      if (value instanceof Module) yield* value.namedModules(name);
      else if (Array.isArray(value))
        for (const [index, element] of value.entries())
          if (element instanceof Module) yield* element.namedModules(`${name}.${index}`);
    }
  }

  /** Switches this module and all below it to training (`true`) or evaluation behaviour. */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }

  eval(): this {
    return this.train(false);
  }

  /** Number of trainable and frozen parameters (elements). */
  parameterCount(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
  }

  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.zeroGrad();
  }

  /** Of sharded parameters this rank's rows, named in `shards`, or nothing where it has none. */
  stateDict(): StateDict {
    const tensors: Record<string, Tensor> = {};
    const shards = new Set<string>();
    for (const [name, parameter] of this.namedParameters()) {
      const held = parameter.sharding === null ? parameter : parameter.sharding.shard;
      if (held === null) continue;
      tensors[name] = held.value;
      if (held.isRows) shards.add(name);
    }
    return { tensors, values: {}, ...(shards.size > 0 && { shards }) };
  }

  /**
   * Copies stored tensors into the parameters, of sharded ones this rank's rows only. Tensors in `state` are whole.
   * @throws TensorloomError `BAD_CHECKPOINT` naming every missing and unexpected name (when strict) and every wrong shape; nothing is changed then
   */
  loadStateDict(state: StoredState, options: LoadOptions = {}): void {
    const own = new Map(this.namedParameters());
    const problems: string[] = [];
    if (options.strict ?? true) {
      for (const name of own.keys()) if (!state.tensors.has(name)) problems.push(`missing: ${name}`);
      for (const name of state.tensors.keys()) if (!own.has(name)) problems.push(`unexpected: ${name}`);
    }
    for (const [name, parameter] of own) {
      const stored = state.tensors.get(name);
      if (stored !== undefined && !tf.util.arraysEqual([...stored.shape], [...parameter.shape]))
        problems.push(
          `shape of ${name}: stored [${stored.shape.join(', ')}], expected [${parameter.shape.join(', ')}]`,
        );
    }
    if (problems.length > 0)
      throw new TensorloomError(
        'BAD_CHECKPOINT',
        `The stored state does not fit this module:\n  ${problems.join('\n  ')}`,
      );
    for (const [name, parameter] of own) {
      const stored = state.tensors.get(name);
      if (stored !== undefined) (parameter.sharding === null ? parameter : parameter.sharding.shard)?.load(stored);
    }
  }

  /** Frees all parameters. */
  dispose(): void {
    for (const [, parameter] of this.namedParameters()) parameter.dispose();
  }
}

function join(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`;
}

/** `denseHTo4h` → `dense_h_to_4h`: an underscore before each capital, and before digits that follow a letter. */
export function snakeCase(field: string): string {
  return field
    .replace(/([A-Z])/g, '_$1')
    .replace(/([A-Za-z])(\d)/g, '$1_$2')
    .replace(/_+/g, '_')
    .replace(/^_/, '')
    .toLowerCase();
}

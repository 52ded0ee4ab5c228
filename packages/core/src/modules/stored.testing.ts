/** For tests: the way of a state dict through a checkpoint. */
import { HostTensor } from '../host-tensor.ts';
import type { StateDict, StoredState } from '../stateful.ts';
import { storedInMemory } from '../stored-tensor.ts';

/** A snapshot as a checkpoint would give it back. */
export function stored({ tensors, values }: StateDict): StoredState {
  const copies = Object.entries(tensors).map(([name, tensor]) => {
    const data = tensor.dataSync<'float32' | 'int32'>().slice() as Float32Array | Int32Array;
    return [name, storedInMemory(new HostTensor(data, tensor.shape))] as const;
  });
  return { tensors: new Map(copies), values: structuredClone(values) };
}

/** A module of one rank as a stored state that is read tensor by tensor, so that writers need not know where it lives. */
import { HostTensor } from '../host-tensor.ts';
import type { Module } from '../modules/module.ts';
import type { StoredState, StoredTensor } from '../stateful.ts';
import type { Tensor } from '../tensors.ts';

/** Tensors are copied to host memory when they are read. */
export function storedStateOf(module: Module): StoredState {
  const { tensors, values } = module.stateDict();
  return {
    tensors: new Map(Object.entries(tensors).map(([name, tensor]) => [name, storedTensorOf(tensor)])),
    values,
  };
}

function storedTensorOf(tensor: Tensor): StoredTensor {
  const [rows = 1, ...rest] = tensor.shape;
  const rowSize = rest.reduce((product, n) => product * n, 1);
  return {
    shape: tensor.shape,
    read: () => new HostTensor(hostData(tensor), tensor.shape),
    readRows: (from, to) => {
      const end = Math.min(to, rows);
      return new HostTensor(hostData(tensor).slice(from * rowSize, end * rowSize), [end - from, ...rest]);
    },
  };
}

function hostData(tensor: Tensor): Float32Array | Int32Array {
  return tensor.dataSync() as Float32Array | Int32Array;
}

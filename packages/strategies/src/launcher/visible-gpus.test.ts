/** GPUs, by lists as CUDA and nvidia-smi write them. */
import { expect, it } from 'vitest';
import { gpuOfRank, visibleGpus } from './visible-gpus.ts';

const LIST = `GPU 0: NVIDIA A100 (UUID: GPU-1)
  MIG 1g.5gb Device 0: (UUID: MIG-1)
GPU 1: NVIDIA A100 (UUID: GPU-2)
`;

it('finds all GPUs that nvidia-smi lists, or none without it', () => {
  expect(visibleGpus({}, () => LIST)).toEqual(['0', '1']);
  expect(visibleGpus({}, () => null)).toEqual([]);
});

it.each([
  ['2,5', ['2', '5']],
  ['GPU-1, GPU-2', ['GPU-1', 'GPU-2']],
  ['', []],
  ['-1', []],
  ['0,-1,1', ['0']],
])('takes CUDA_VISIBLE_DEVICES=%s as CUDA does, and does not look further', (value, gpus) => {
  const list = (): string => {
    throw new Error('nvidia-smi was asked');
  };
  expect(visibleGpus({ CUDA_VISIBLE_DEVICES: value }, list)).toEqual(gpus);
});

it('gives one to each rank, in turns, and leaves a single one alone', () => {
  expect([0, 1, 2].map((rank) => gpuOfRank(['4', '7'], rank))).toEqual(['4', '7', '4']);
  expect(gpuOfRank(['4'], 0)).toBeUndefined();
  expect(gpuOfRank([], 0)).toBeUndefined();
});

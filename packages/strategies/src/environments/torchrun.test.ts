/** torchrun's variables. */
import { expect, it } from 'vitest';
import { detectTorchrun } from './torchrun.ts';

const two = {
  RANK: '3',
  LOCAL_RANK: '1',
  WORLD_SIZE: '4',
  LOCAL_WORLD_SIZE: '2',
  GROUP_RANK: '1',
  MASTER_ADDR: 'node-0',
  MASTER_PORT: '29400',
  TORCHELASTIC_RUN_ID: 'run 7',
};

it('reads a rank of two nodes', () => {
  expect(detectTorchrun(two)).toEqual({
    name: 'torchrun',
    globalRank: 3,
    localRank: 1,
    localWorldSize: 2,
    nodeRank: 1,
    numNodes: 2,
    worldSize: 4,
    mainAddress: 'node-0',
    mainPort: 29400,
    jobId: 'torchrun-run_7-29400',
    token: undefined,
  });
});

it('takes ranks without local ones for nodes of their own', () => {
  const environment = detectTorchrun({ RANK: '1', WORLD_SIZE: '2', MASTER_ADDR: 'a', MASTER_PORT: '1' });
  expect(environment).toMatchObject({ localRank: 0, localWorldSize: 1, nodeRank: 1, numNodes: 2 });
});

it('lets GROUP_WORLD_SIZE say how many nodes there are, where they have unequal numbers of ranks', () => {
  const environment = detectTorchrun({ ...two, WORLD_SIZE: '5', GROUP_WORLD_SIZE: '2' });
  expect(environment).toMatchObject({ worldSize: 5, numNodes: 2, localWorldSize: 2 });
});

it('does not take WORLD_SIZE and MASTER_ADDR alone for torchrun', () => {
  expect(detectTorchrun({ WORLD_SIZE: '4', MASTER_ADDR: 'a', MASTER_PORT: '1' })).toBeNull();
});

it.each([
  [{ WORLD_SIZE: undefined }, /WORLD_SIZE is not set; expected the number of ranks/],
  [{ WORLD_SIZE: 'four' }, /WORLD_SIZE is 'four'; expected a whole number of at least 1/],
  [{ RANK: '4' }, /RANK is 4, but WORLD_SIZE is 4; ranks are 0 to 3/],
  [{ LOCAL_RANK: '2' }, /LOCAL_RANK is 2, but LOCAL_WORLD_SIZE is 2/],
  [{ LOCAL_WORLD_SIZE: undefined }, /LOCAL_WORLD_SIZE is not set/],
  [{ LOCAL_RANK: undefined }, /LOCAL_RANK is not set/],
  [{ WORLD_SIZE: '5' }, /WORLD_SIZE is '5'; expected a multiple of LOCAL_WORLD_SIZE, which is 2/],
  [{ GROUP_RANK: '2' }, /GROUP_RANK is 2, but there are 2 nodes/],
  [{ MASTER_ADDR: undefined }, /MASTER_ADDR is not set/],
  [{ MASTER_PORT: undefined }, /MASTER_PORT is not set/],
  [{ MASTER_PORT: '70000' }, /MASTER_PORT is '70000'; expected a whole number from 1 to 65535/],
])('refuses %o', (change, message) => {
  expect(() => detectTorchrun({ ...two, ...change })).toThrow(message);
});

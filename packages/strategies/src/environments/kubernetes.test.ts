/** Indexed Jobs. */
import { expect, it } from 'vitest';
import { detectKubernetes } from './kubernetes.ts';

const pod = { JOB_COMPLETION_INDEX: '2', TENSORLOOM_NODES: '3', MASTER_ADDR: 'train-0.train' };

it('reads one rank per pod', () => {
  expect(detectKubernetes(pod)).toEqual({
    name: 'Kubernetes',
    globalRank: 2,
    localRank: 0,
    localWorldSize: 1,
    nodeRank: 2,
    numNodes: 3,
    worldSize: 3,
    mainAddress: 'train-0.train',
    mainPort: 29500,
    jobId: 'train-0.train-29500',
    token: undefined,
  });
});

it('reads several ranks per pod', () => {
  const environment = detectKubernetes({ ...pod, LOCAL_RANK: '1', LOCAL_WORLD_SIZE: '4', MASTER_PORT: '4000' });
  expect(environment).toMatchObject({ globalRank: 9, worldSize: 12, localRank: 1, localWorldSize: 4, mainPort: 4000 });
});

it('leaves a batch of independent pods alone', () => {
  expect(detectKubernetes({ JOB_COMPLETION_INDEX: '1' })).toBeNull();
  expect(detectKubernetes({ TENSORLOOM_NODES: '3', MASTER_ADDR: 'a' })).toBeNull();
});

it.each([
  [{ MASTER_ADDR: undefined }, /MASTER_ADDR is not set; expected the name of pod 0/],
  [{ TENSORLOOM_NODES: undefined }, /TENSORLOOM_NODES is not set; expected the number of pods/],
  [{ TENSORLOOM_NODES: '0' }, /TENSORLOOM_NODES is '0'; expected a whole number of at least 1/],
  [{ JOB_COMPLETION_INDEX: '3' }, /JOB_COMPLETION_INDEX is '3'; expected 0 to 2, as TENSORLOOM_NODES is 3/],
  [{ LOCAL_RANK: '0' }, /LOCAL_WORLD_SIZE is not set/],
  [{ LOCAL_WORLD_SIZE: '2', LOCAL_RANK: '2' }, /LOCAL_RANK is 2, but LOCAL_WORLD_SIZE is 2/],
])('refuses %o', (change, message) => {
  expect(() => detectKubernetes({ ...pod, ...change })).toThrow(message);
});

/** mpirun's variables. */
import { expect, it } from 'vitest';
import { detectOpenMpi } from './open-mpi.ts';

const rank = {
  OMPI_COMM_WORLD_RANK: '3',
  OMPI_COMM_WORLD_SIZE: '4',
  OMPI_COMM_WORLD_LOCAL_RANK: '1',
  OMPI_COMM_WORLD_LOCAL_SIZE: '2',
  OMPI_MCA_ess_base_jobid: '474415105',
  OMPI_MCA_orte_num_nodes: '2',
};

it('reads a rank of two nodes, and suggests MPI', () => {
  expect(detectOpenMpi({ ...rank, MASTER_ADDR: 'n0', MASTER_PORT: '5000' })).toEqual({
    name: 'Open MPI',
    globalRank: 3,
    localRank: 1,
    localWorldSize: 2,
    nodeRank: 1,
    numNodes: 2,
    worldSize: 4,
    mainAddress: 'n0',
    mainPort: 5000,
    jobId: 'mpi-474415105',
    token: undefined,
    preferredProcessGroup: 'mpi',
  });
});

it('works without what only mpirun 4 tells, and meets on the loopback of one node', () => {
  const environment = detectOpenMpi({
    PMIX_RANK: '1',
    PMIX_NAMESPACE: 'prterun-host-17@1',
    OMPI_COMM_WORLD_SIZE: '2',
    OMPI_COMM_WORLD_LOCAL_RANK: '1',
    OMPI_COMM_WORLD_LOCAL_SIZE: '2',
  });
  expect(environment).toMatchObject({
    globalRank: 1,
    numNodes: 1,
    mainAddress: '127.0.0.1',
    jobId: 'mpi-prterun-host-17_1',
  });
});

it('derives the same port for all ranks of a run, and others for other runs', () => {
  const ports = ['1', '1', '2'].map((run) => detectOpenMpi({ ...rank, OMPI_MCA_ess_base_jobid: run })?.mainPort);
  expect(ports[0]).toBe(ports[1]);
  expect(ports[0]).not.toBe(ports[2]);
});

it('says in the address what is missing where several nodes would have to meet', () => {
  expect(detectOpenMpi(rank)?.mainAddress).toBe('set-MASTER_ADDR-to-the-host-of-rank-0.invalid');
});

it('is not there without its variables', () => {
  expect(detectOpenMpi({ PMIX_RANK: '0' })).toBeNull();
});

it.each([
  [{ OMPI_COMM_WORLD_SIZE: undefined }, /OMPI_COMM_WORLD_SIZE is not set/],
  [{ OMPI_COMM_WORLD_RANK: undefined }, /none of OMPI_COMM_WORLD_RANK, PMIX_RANK is set/],
  [{ OMPI_COMM_WORLD_LOCAL_SIZE: undefined }, /OMPI_COMM_WORLD_LOCAL_SIZE is not set/],
  [{ OMPI_COMM_WORLD_RANK: '4' }, /OMPI_COMM_WORLD_RANK is 4, but OMPI_COMM_WORLD_SIZE is 4/],
  [{ OMPI_COMM_WORLD_LOCAL_RANK: '-1' }, /OMPI_COMM_WORLD_LOCAL_RANK is '-1'; expected a whole number of at least 0/],
])('refuses %o', (change, message) => {
  expect(() => detectOpenMpi({ ...rank, ...change })).toThrow(message);
});

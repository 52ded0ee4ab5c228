/** Our launcher's variables, the job's secret, and which environment counts where several could. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { clusterEnvironments, detectClusterEnvironment } from '@tensorloom/core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import './kubernetes.ts';
import './open-mpi.ts';
import './slurm.ts';
import { detectTensorloom } from './tensorloom.ts';

const rank = {
  RANK: '0',
  WORLD_SIZE: '2',
  LOCAL_RANK: '0',
  LOCAL_WORLD_SIZE: '2',
  MASTER_ADDR: '127.0.0.1',
  MASTER_PORT: '4000',
};
const launched = { ...rank, TENSORLOOM_JOB_ID: 'job-0', TENSORLOOM_TOKEN: 'secret' };
const mpi = {
  OMPI_COMM_WORLD_RANK: '0',
  OMPI_COMM_WORLD_SIZE: '2',
  OMPI_COMM_WORLD_LOCAL_RANK: '0',
  OMPI_COMM_WORLD_LOCAL_SIZE: '2',
};
const kubernetes = { JOB_COMPLETION_INDEX: '0', TENSORLOOM_NODES: '2', MASTER_ADDR: 'pod-0' };
const slurm = {
  SLURM_PROCID: '0',
  SLURM_LOCALID: '0',
  SLURM_NTASKS: '2',
  SLURM_NODEID: '0',
  SLURM_NNODES: '1',
  SLURM_JOB_ID: '5',
  SLURM_STEP_ID: '0',
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-environment-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('reads job id and token', () => {
  expect(detectTensorloom(launched)).toMatchObject({
    name: 'tensorloom launch',
    jobId: 'job-0',
    token: 'secret',
    numNodes: 1,
  });
});

it('does not take a job id alone for a rank', () => {
  expect(detectTensorloom({ TENSORLOOM_JOB_ID: 'x' })).toBeNull();
});

it.each(['', 'a b', 'a/b', 'x'.repeat(65)])('refuses the job id %j', (jobId) => {
  expect(() => detectTensorloom({ ...launched, TENSORLOOM_JOB_ID: jobId })).toThrow(
    /TENSORLOOM_JOB_ID is '.*'; expected 1 to 64/,
  );
});

it.each([
  ['tensorloom launch', { ...launched, ...mpi, ...kubernetes, ...slurm }],
  ['torchrun', { ...rank, ...mpi, ...kubernetes, ...slurm }],
  ['Open MPI', { ...mpi, ...kubernetes, ...slurm }],
  ['Kubernetes', { ...kubernetes, ...slurm }],
  ['Slurm', slurm],
])('%s comes before those below it', (name, variables) => {
  expect(detectClusterEnvironment(variables)?.name).toBe(name);
});

it('finds nothing in a process that was started alone', () => {
  expect(clusterEnvironments.names()).toHaveLength(5);
  expect(detectClusterEnvironment({ PATH: '/bin', HOME: '/root' })).toBeNull();
});

it.each([
  ['torchrun', rank],
  ['Open MPI', mpi],
  ['Kubernetes', kubernetes],
  ['Slurm', slurm],
])('%s: takes the token from its variable or from a file', (name, variables) => {
  const file = path.join(folder, 'token');
  writeFileSync(file, 'from a file\nsecond line\n');
  expect(detectClusterEnvironment({ ...variables, TENSORLOOM_TOKEN: ' given ' })).toMatchObject({
    name,
    token: 'given',
  });
  expect(detectClusterEnvironment({ ...variables, TENSORLOOM_TOKEN_FILE: file })).toMatchObject({
    name,
    token: 'from a file',
  });
  expect(detectClusterEnvironment(variables)?.token).toBeUndefined();
});

it('refuses an empty token, an empty file and one that is not there', () => {
  const file = path.join(folder, 'token');
  writeFileSync(file, '\n');
  expect(() => detectClusterEnvironment({ ...rank, TENSORLOOM_TOKEN: '' })).toThrow(/TENSORLOOM_TOKEN is empty/);
  expect(() => detectClusterEnvironment({ ...rank, TENSORLOOM_TOKEN_FILE: file })).toThrow(/that file is empty/);
  expect(() => detectClusterEnvironment({ ...rank, TENSORLOOM_TOKEN_FILE: `${file}.no` })).toThrow(
    /cannot be read \(ENOENT/,
  );
});

/** Slurm's variables and lists. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseNodeList, parseTasksPerNode } from './slurm-lists.ts';
import { detectSlurm } from './slurm.ts';

const task = {
  SLURM_PROCID: '9',
  SLURM_LOCALID: '1',
  SLURM_NTASKS: '11',
  SLURM_NODEID: '2',
  SLURM_NNODES: '3',
  SLURM_JOB_NODELIST: 'node[01-02,7]',
  SLURM_TASKS_PER_NODE: '4(x2),3',
  SLURM_JOB_ID: '4123456',
  SLURM_STEP_ID: '0',
  SLURM_JOB_NAME: 'train',
};

describe('variables', () => {
  it('reads a task of three nodes', () => {
    expect(detectSlurm(task)).toEqual({
      name: 'Slurm',
      globalRank: 9,
      localRank: 1,
      localWorldSize: 3,
      nodeRank: 2,
      numNodes: 3,
      worldSize: 11,
      mainAddress: 'node01',
      mainPort: 15000 + 3456,
      jobId: 'slurm-4123456-0',
      token: undefined,
    });
  });

  it("prefers the step's own variables to the job's", () => {
    const environment = detectSlurm({
      ...task,
      SLURM_PROCID: '1',
      SLURM_NODEID: '0',
      SLURM_STEP_NUM_TASKS: '2',
      SLURM_STEP_NUM_NODES: '1',
      SLURM_STEP_TASKS_PER_NODE: '2',
      SLURM_STEP_NODELIST: 'node7',
    });
    expect(environment).toMatchObject({ worldSize: 2, numNodes: 1, localWorldSize: 2, mainAddress: '127.0.0.1' });
  });

  it('lets MASTER_ADDR and MASTER_PORT say where to meet', () => {
    const environment = detectSlurm({ ...task, MASTER_ADDR: 'ib-node01', MASTER_PORT: '4000' });
    expect(environment).toMatchObject({ mainAddress: 'ib-node01', mainPort: 4000 });
  });

  it("falls back to the address of srun's host, and to equal numbers of tasks", () => {
    const { SLURM_JOB_NODELIST: _list, SLURM_TASKS_PER_NODE: _tasks, ...rest } = task;
    const environment = detectSlurm({ ...rest, SLURM_NTASKS: '12', SLURM_LAUNCH_NODE_IPADDR: '10.0.0.1' });
    expect(environment).toMatchObject({ mainAddress: '10.0.0.1', localWorldSize: 4 });
  });

  it('takes neither a batch script nor an interactive shell for a rank', () => {
    expect(detectSlurm({ ...task, SLURM_STEP_ID: undefined })).toBeNull();
    expect(detectSlurm({ ...task, SLURM_JOB_NAME: 'bash' })).toBeNull();
    expect(detectSlurm({ SLURM_JOB_ID: '1', SLURM_NTASKS: '4', SLURM_JOB_NAME: 'interactive' })).toBeNull();
    expect(detectSlurm({ ...task, SLURM_JOB_NAME: 'interactive', SLURM_NTASKS: '1', SLURM_PROCID: '0' })).toBeNull();
  });

  it('takes tasks that srun starts from an interactive shell for ranks', () => {
    expect(detectSlurm({ ...task, SLURM_JOB_NAME: 'interactive' })).toMatchObject({ worldSize: 11 });
  });

  it.each([
    [{ SLURM_NTASKS: undefined }, /none of SLURM_STEP_NUM_TASKS, SLURM_NTASKS, SLURM_NPROCS is set/],
    [{ SLURM_LOCALID: undefined }, /SLURM_LOCALID is not set/],
    [{ SLURM_NODEID: undefined }, /SLURM_NODEID is not set/],
    [{ SLURM_NNODES: undefined }, /none of SLURM_STEP_NUM_NODES, SLURM_NNODES, SLURM_JOB_NUM_NODES is set/],
    [{ SLURM_JOB_ID: undefined }, /none of SLURM_JOB_ID, SLURM_JOBID is set/],
    [{ SLURM_PROCID: '11' }, /SLURM_PROCID is 11, but SLURM_NTASKS is 11; ranks are 0 to 10/],
    [{ SLURM_TASKS_PER_NODE: '4(x2)' }, /SLURM_TASKS_PER_NODE is '4\(x2\)'; expected the tasks of each of 3 nodes/],
    [{ SLURM_TASKS_PER_NODE: '4*2' }, /SLURM_TASKS_PER_NODE is '4\*2'/],
    [{ SLURM_TASKS_PER_NODE: undefined }, /11 tasks are no equal parts for 3 nodes/],
    [{ SLURM_JOB_NODELIST: 'node[01' }, /SLURM_JOB_NODELIST is 'node\[01'; expected host names/],
    [{ SLURM_JOB_NODELIST: undefined }, /none of .*SLURM_LAUNCH_NODE_IPADDR, MASTER_ADDR is set/],
  ])('refuses %o', (change, message) => {
    expect(() => detectSlurm({ ...task, ...change })).toThrow(message);
  });
});

describe('lists', () => {
  it.each([
    ['host', ['host']],
    ['a,b', ['a', 'b']],
    ['node[01-03,7]', ['node01', 'node02', 'node03', 'node7']],
    ['login,n[9-11]-ib', ['login', 'n9-ib', 'n10-ib', 'n11-ib']],
    ['r[1-2]n[08-09]', ['r1n08', 'r1n09', 'r2n08', 'r2n09']],
  ])('expands %s', (text, hosts) => {
    expect(parseNodeList(text)).toEqual(hosts);
  });

  it.each(['', 'n[', 'n[3-1]', 'n[a-b]', 'n[]', 'n]', 'n[1-999999999]', 'n[1-400][1-400]', 'a,,b'])(
    'refuses %j',
    (text) => {
      expect(parseNodeList(text)).toBeNull();
    },
  );

  it('reads tasks per node', () => {
    expect(parseTasksPerNode('4(x2),3')).toEqual([4, 4, 3]);
    expect(parseTasksPerNode('1')).toEqual([1]);
    expect(parseTasksPerNode('4(x999999)')).toBeNull();
    expect(parseTasksPerNode('x')).toBeNull();
  });

  it('gives an answer to any text, and finds back what it was made from', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseNodeList(text);
        parseTasksPerNode(text);
      }),
    );
    const range = fc.tuple(fc.nat(500), fc.nat(20)).map(([from, more]) => ({ from, to: from + more }));
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 4 }), (ranges) => {
        const text = `n[${ranges.map(({ from, to }) => `${from}-${to}`).join(',')}]`;
        const hosts = ranges.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => `n${from + i}`));
        expect(parseNodeList(text)).toEqual(hosts);
      }),
    );
  });
});

/** Tasks of a Slurm job step: `srun tensorloom train …`. */
import { clusterEnvironments, type ClusterEnvironment } from '@tensorloom/core';
import { parseNodeList, parseTasksPerNode } from './slurm-lists.ts';
import { checked, jobIdOf, VariableReader, type Variables } from './variables.ts';

const SHELLS = ['bash', 'sh', 'zsh', 'fish', 'tcsh'];

/**
 * Reads SLURM_PROCID, SLURM_LOCALID, SLURM_NTASKS, SLURM_NODEID, SLURM_NNODES, the node list, SLURM_TASKS_PER_NODE and
 * SLURM_JOB_ID; of the step, where it has its own. MASTER_ADDR and MASTER_PORT override what is derived from them.
 *
 * Only what `srun` started is a rank: a batch script itself has most of these variables too, and so has an interactive shell.
 * @throws TensorloomError `BAD_OPTION`
 */
export function detectSlurm(variables: Variables): ClusterEnvironment | null {
  if (!isTaskOfStep(variables)) return null;
  const reader = new VariableReader('Slurm', variables);
  const globalRank = reader.requiredInteger("this task's number", 0, Number.MAX_SAFE_INTEGER, 'SLURM_PROCID');
  const worldSize = reader.requiredCount('the number of tasks', ...TASKS);
  const numNodes = reader.requiredCount(
    'the number of nodes',
    'SLURM_STEP_NUM_NODES',
    'SLURM_NNODES',
    'SLURM_JOB_NUM_NODES',
  );
  const nodeRank = reader.requiredInteger("this node's number", 0, Number.MAX_SAFE_INTEGER, 'SLURM_NODEID');
  const job = reader.requiredText('the number of the job', 'SLURM_JOB_ID', 'SLURM_JOBID');
  const environment: ClusterEnvironment = {
    name: 'Slurm',
    globalRank,
    localRank: reader.requiredInteger("this task's number on its node", 0, Number.MAX_SAFE_INTEGER, 'SLURM_LOCALID'),
    localWorldSize: tasksOnNode(reader, worldSize, numNodes, nodeRank),
    nodeRank,
    numNodes,
    worldSize,
    mainAddress: mainAddressOf(reader, numNodes),
    mainPort: reader.port('MASTER_PORT') ?? portOf(job),
    jobId: jobIdOf('slurm', job, reader.text('SLURM_STEP_ID', 'SLURM_STEPID'), reader.text('SLURM_RESTART_COUNT')),
    token: reader.token(),
  };
  return checked(environment, {
    rank: 'SLURM_PROCID',
    world: 'SLURM_NTASKS',
    localRank: 'SLURM_LOCALID',
    localWorld: 'SLURM_TASKS_PER_NODE',
    node: 'SLURM_NODEID',
  });
}

const TASKS = ['SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS', 'SLURM_NPROCS'];

function isTaskOfStep(variables: Variables): boolean {
  if (variables['SLURM_PROCID'] === undefined) return false;
  if ((variables['SLURM_STEP_ID'] ?? variables['SLURM_STEPID']) === undefined) return false;
  const name = variables['SLURM_JOB_NAME'] ?? '';
  if (SHELLS.includes(name)) return false;
  // Of the steps of an interactive allocation, the one with a single task is its shell.
  const tasks = TASKS.map((variable) => variables[variable]).find((value) => value !== undefined);
  return name !== 'interactive' || Number(tasks) > 1;
}

function tasksOnNode(reader: VariableReader, worldSize: number, numNodes: number, nodeRank: number): number {
  const names = ['SLURM_STEP_TASKS_PER_NODE', 'SLURM_TASKS_PER_NODE'];
  const name = names.find((candidate) => reader.text(candidate) !== undefined);
  if (name === undefined) {
    if (worldSize % numNodes === 0) return worldSize / numNodes;
    throw reader.missing(
      `the tasks of each node, as ${worldSize} tasks are no equal parts for ${numNodes} nodes`,
      ...names,
    );
  }
  const counts = parseTasksPerNode(reader.text(name) as string);
  const count = counts?.[nodeRank];
  if (count === undefined || count < 1)
    throw reader.bad(
      name,
      `expected the tasks of each of ${numNodes} nodes, as in 4(x2),3, and so of node ${nodeRank}`,
    );
  return count;
}

function mainAddressOf(reader: VariableReader, numNodes: number): string {
  const given = reader.text('MASTER_ADDR');
  if (given !== undefined) return given;
  if (numNodes === 1) return '127.0.0.1';
  const lists = ['SLURM_STEP_NODELIST', 'SLURM_JOB_NODELIST', 'SLURM_NODELIST'];
  const name = lists.find((candidate) => reader.text(candidate) !== undefined);
  // srun's own host comes last: it may be a login node.
  if (name === undefined)
    return reader.requiredText('the host of task 0', ...lists, 'SLURM_LAUNCH_NODE_IPADDR', 'MASTER_ADDR');
  const first = parseNodeList(reader.text(name) as string)?.[0];
  if (first === undefined) throw reader.bad(name, 'expected host names, as in node[01-03,7]');
  return first;
}

/** 15000 and the job number's last four digits, as Lightning does. */
function portOf(job: string): number {
  const digits = /\d{1,4}$/.exec(job)?.[0] ?? '0';
  return 15_000 + Number(digits);
}

clusterEnvironments.register('slurm', {
  priority: 60,
  summary: 'tasks that srun started: SLURM_PROCID, SLURM_NTASKS and their kin',
  detect: detectSlurm,
});

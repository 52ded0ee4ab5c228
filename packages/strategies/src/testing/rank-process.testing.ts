/** The process of one rank that `runRankProcesses` starts. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { chooseProcessGroup, makeProcessGroup, type ProcessGroupName } from '../process-groups/make-process-group.ts';
import type { TransportRequest } from '../process-groups/transport.ts';
import type { RankInput } from './rank-processes.testing.ts';
import { tellError, type Scenario } from './scenario.testing.ts';

function variable(...names: string[]): string {
  const name = names.find((each) => process.env[each] !== undefined);
  if (name === undefined) throw new Error(`None of ${names.join(', ')} is set.`);
  return process.env[name] as string;
}

const folder = variable('TENSORLOOM_TEST_FOLDER');
const { scenarioUrl, input, processGroup, options, collectiveTimeoutMs, rankTimeoutMs } = deserialize(
  readFileSync(path.join(folder, 'input')),
) as RankInput;
const rank = Number(variable('RANK', 'OMPI_COMM_WORLD_RANK'));
const request: TransportRequest = {
  rank,
  worldSize: Number(variable('WORLD_SIZE')),
  localRank: Number(variable('LOCAL_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK')),
  localWorldSize: Number(variable('LOCAL_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_SIZE')),
  nodeRank: Number(process.env['GROUP_RANK'] ?? 0),
  numNodes: Number(process.env['TENSORLOOM_TEST_NODES'] ?? 1),
  mainAddress: variable('MASTER_ADDR'),
  mainPort: Number(variable('MASTER_PORT')),
  jobId: variable('TENSORLOOM_JOB_ID'),
  token: variable('TENSORLOOM_TOKEN'),
  collectiveTimeoutMs,
  rankTimeoutMs,
  options,
};

// It ends with whoever started it.
if (process.env['TENSORLOOM_TEST_NODES'] !== undefined) process.stdin.on('end', () => process.exit(99)).resume();
(process.stdin as Partial<{ unref(): void }>).unref?.();

// A rank that is told to be missing.
if (process.env['TENSORLOOM_TEST_ABSENT'] === String(rank)) process.exit();

let answer;
try {
  const { scenario } = (await import(scenarioUrl)) as { readonly scenario: Scenario };
  const name =
    processGroup === 'auto' ? await chooseProcessGroup(request, undefined) : (processGroup as ProcessGroupName);
  const group = await makeProcessGroup(name, request);
  const result = await scenario(group, input);
  await group.close();
  answer = { result };
} catch (error) {
  console.error(error);
  answer = { error: tellError(error) };
  process.exitCode = 1;
}
writeFileSync(path.join(folder, `rank-${rank}`), serialize(answer));
if (process.exitCode === 1) process.exit();

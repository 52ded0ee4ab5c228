/** The thread of one rank that `runLocalRanks` starts. */
import { parentPort, workerData } from 'node:worker_threads';
import { LocalProcessGroup } from '../process-groups/local/local-group.ts';
import type { LocalRankAnswer, LocalRankData } from './local-ranks.testing.ts';
import { tellError, type Scenario } from './scenario.testing.ts';

const { rank, worldSize, memory, collectiveTimeoutMs, scenarioUrl, input } = workerData as LocalRankData;

async function run(): Promise<LocalRankAnswer> {
  try {
    const { scenario } = (await import(scenarioUrl)) as { readonly scenario: Scenario };
    const group = new LocalProcessGroup({ rank, worldSize, memory, collectiveTimeoutMs });
    const result = await scenario(group, input);
    await group.close();
    return { result };
  } catch (error) {
    return { error: { ...tellError(error), stack: error instanceof Error ? (error.stack ?? '') : '' } };
  }
}

parentPort?.postMessage(await run());

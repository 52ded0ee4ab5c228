import { describe, expect, test } from 'vitest';
import { resolveConfig } from '../config/resolve.ts';
import type { PartialRunConfig } from '../config/schema.ts';
import { launchedJob } from '../run/open-run.ts';
import { strategyOptions } from '../setup/strategy-options.ts';
import { planRanks, type RankPlan } from './ranks.ts';

const torchrun = (rank: number, worldSize: number): Record<string, string> => ({
  RANK: String(rank),
  LOCAL_RANK: String(rank),
  WORLD_SIZE: String(worldSize),
  LOCAL_WORLD_SIZE: String(worldSize),
  MASTER_ADDR: '127.0.0.1',
  MASTER_PORT: '29500',
});

const plan = (flags: PartialRunConfig, variables: Record<string, string> = {}): RankPlan =>
  planRanks(resolveConfig({ flags }), flags, variables);

describe('the ranks of a run', () => {
  test('are this process alone by default', () => {
    expect(plan({})).toMatchObject({ worldSize: 1, mustStartRanks: false, isRankZero: true });
    expect(plan({}).resolved.config.devices).toBeUndefined();
  });
  test('are to be started where several devices are asked for', () => {
    expect(plan({ strategy: 'ddp', devices: 2 })).toMatchObject({
      worldSize: 2,
      mustStartRanks: true,
      resolved: { config: { devices: 2, numNodes: 1 } },
    });
  });
  test('are those that a launcher has started, as many as there are', () => {
    expect(plan({ strategy: 'ddp', accumulate: 4 }, torchrun(1, 4))).toMatchObject({
      worldSize: 4,
      mustStartRanks: false,
      isRankZero: false,
      resolved: { config: { devices: 4, numNodes: 1 } },
    });
  });
  test('must be what the command line asks for, while what a run has recorded gives way', () => {
    const recorded = resolveConfig({ flags: { strategy: 'ddp', devices: 2 } });
    expect(planRanks(recorded, {}, torchrun(0, 1)).worldSize).toBe(1);
    expect(() => planRanks(recorded, { devices: 2 }, torchrun(0, 1))).toThrow(
      /--devices=2, but torchrun has started 1 ranks/,
    );
  });
  test('share the micro-batches of a step evenly, or the message says what fits', () => {
    expect(strategyOptions(plan({ strategy: 'ddp', devices: 2, accumulate: 16 }).resolved.config, 2)).toEqual({
      accumulate: 8,
    });
    expect(() => plan({ strategy: 'ddp', accumulate: 6, microBatchSize: 4 }, torchrun(0, 4))).toThrow(
      /--accumulate=6 .* 4 ranks\. Take a multiple of 4, such as 4 or 8\. --accumulate=8 --micro-batch-size=3 keeps the effective batch size of 24/,
    );
  });
  test('of several take ddp where nobody has chosen, and refuse what runs on one device', () => {
    expect(plan({ devices: 2 }).resolved).toMatchObject({
      config: { strategy: 'ddp', accumulate: 2 },
      origins: { strategy: 'several ranks' },
    });
    expect(plan({ accumulate: 4 }, torchrun(0, 4)).resolved).toMatchObject({
      config: { strategy: 'ddp' },
      origins: { strategy: 'several ranks' },
    });
    expect(plan({}).resolved.config.strategy).toBe('accumulate');
    expect(() => plan({ strategy: 'accumulate', accumulate: 4 }, torchrun(0, 4))).toThrow(
      /There are 4 ranks, but --strategy=accumulate/,
    );
  });
  test('that tensorloom starts are not for mpi', () => {
    expect(() => plan({ devices: 2, processGroup: 'mpi' })).toThrow(/mpirun -np 2 tensorloom/);
    const launched = { ...torchrun(0, 2), TENSORLOOM_JOB_ID: 'a-0', TENSORLOOM_RESTART_COUNT: '0' };
    expect(() => plan({ processGroup: 'mpi' }, launched)).toThrow(/mpirun -np 2 tensorloom/);
  });
  test('have a process group that a flag can name', () => {
    const local = /Unknown process group 'local'\. .*Known: auto, shm, ws, shm\+ws, mpi\./;
    expect(() => plan({ devices: 2, processGroup: 'local' })).toThrow(local);
  });
  test('that do not talk by ws have none of its flags', () => {
    const flags = { devices: 2, listenAddress: '127.0.0.1', networkInterface: 'lo' };
    expect(() => plan(flags)).toThrow(
      /^--listen-address, --network-interface: .* not by shm, which auto takes here\. Leave them out, or add --process-group=ws/,
    );
    expect(() => plan({ devices: 2, processGroup: 'shm', networkInterface: 'lo' })).toThrow(
      /not by shm\. Leave it out/,
    );
    expect(plan({ ...flags, processGroup: 'ws' }).worldSize).toBe(2);
    expect(plan({ networkInterface: 'lo' }, { ...torchrun(0, 2), LOCAL_WORLD_SIZE: '1' }).worldSize).toBe(2);
  });
});

test('options of a strategy go to it under their own names', () => {
  const { config } = resolveConfig({
    flags: { strategy: 'fsdp', reduceEachMicroBatch: false, reductionStorage: 'bfloat16' },
  });
  expect(strategyOptions(config, 1)).toEqual({
    accumulate: 2,
    reduceEachMicroBatch: false,
    reductionStorage: 'bfloat16',
  });
});

test('a launch has one id over all starts of its ranks', () => {
  expect(launchedJob({})).toBeUndefined();
  expect(launchedJob({ TENSORLOOM_JOB_ID: 'abc-0', TENSORLOOM_RESTART_COUNT: '0' })).toEqual({
    id: 'abc',
    restarts: 0,
  });
  expect(launchedJob({ TENSORLOOM_JOB_ID: 'abc-12', TENSORLOOM_RESTART_COUNT: '12' })).toEqual({
    id: 'abc',
    restarts: 12,
  });
});

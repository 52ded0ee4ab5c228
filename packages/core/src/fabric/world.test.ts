import { describe, expect, it } from 'vitest';
import { clusterEnvironments, type ClusterEnvironment } from '../distributed/cluster-environment.ts';
import { SingleProcessGroup } from '../distributed/single-process-group.ts';
import { planWorld, refuseNodesWithoutLauncher, type World } from './world.ts';

/** A matcher for a TensorloomError. */
const error = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

/** Rank 3 of 4, the second of two on the second of two machines. */
const launched: ClusterEnvironment = {
  name: 'test launcher',
  globalRank: 3,
  localRank: 1,
  localWorldSize: 2,
  nodeRank: 1,
  numNodes: 2,
  worldSize: 4,
  mainAddress: '127.0.0.1',
  mainPort: 1,
  jobId: 'job',
  token: undefined,
};
clusterEnvironments.register('test', {
  priority: 1,
  summary: 'by the variable OF_WORLD_TEST',
  detect: (variables) => (variables['OF_WORLD_TEST'] === undefined ? null : launched),
});
const variables = { OF_WORLD_TEST: '1' };
const open = { devices: undefined, numNodes: undefined };

class GroupOf extends SingleProcessGroup {
  constructor(
    override readonly rank: number,
    override readonly worldSize: number,
  ) {
    super();
  }
}

describe('the world of a Fabric', () => {
  it('is one rank where nothing says otherwise', () => {
    expect(planWorld(open, {}, {})).toMatchObject({ worldSize: 1, rank: 0, mustStartRanks: false });
    expect(planWorld({ ...open, devices: 1 }, {}, {})).toMatchObject({ worldSize: 1, mustStartRanks: false });
  });

  it('has to be started by a process that is alone and asks for several devices', () => {
    expect(planWorld({ ...open, devices: 3 }, {}, {})).toMatchObject({ worldSize: 3, rank: 0, mustStartRanks: true });
    expect(planWorld({ ...open, devices: [1, 4] }, {}, {})).toMatchObject({ worldSize: 2, mustStartRanks: true });
    expect(planWorld({ ...open, devices: 'auto' }, {}, {})).toMatchObject({ worldSize: 1, asManyAsDevices: true });
  });

  it('is what a launcher has started, whatever the script leaves open', () => {
    for (const options of [open, { devices: 'auto' as const, numNodes: undefined }, { devices: 2, numNodes: 2 }])
      expect(planWorld(options, {}, variables)).toEqual({
        environment: launched,
        worldSize: 4,
        rank: 3,
        mustStartRanks: false,
        asManyAsDevices: false,
      });
  });

  it('is refused where script and launcher differ, naming both', () => {
    expect(() => planWorld({ ...open, devices: 4 }, {}, variables)).toThrow(
      error(
        'CONFLICTING_OPTIONS',
        /devices 4 × numNodes 2, but the cluster environment 'test launcher'.*4 ranks: 2 on/,
      ),
    );
    expect(() => planWorld({ ...open, numNodes: 1 }, {}, variables)).toThrow(
      error('CONFLICTING_OPTIONS', /any devices × numNodes 1.*2 machines/),
    );
    expect(() => planWorld({ ...open, devices: [0, 1, 2] }, {}, variables)).toThrow(/devices \[0, 1, 2\]/);
  });

  it('is that of a process group given as plugin', () => {
    const { environment, ...world } = planWorld({ ...open, numNodes: 2 }, { processGroup: new GroupOf(5, 6) }, {});
    expect(world).toMatchObject({ worldSize: 6, rank: 5, mustStartRanks: false });
    expect(environment).toMatchObject({ localRank: 2, localWorldSize: 3, nodeRank: 1, numNodes: 2 });
    expect(planWorld(open, { processGroup: new GroupOf(3, 4) }, variables).environment).toBe(launched);
    expect(() => planWorld(open, { processGroup: new GroupOf(2, 4) }, variables)).toThrow(
      error('CONFLICTING_OPTIONS', /rank 2 of 4.*'test launcher' as rank 3 of 4/),
    );
    expect(() => planWorld({ ...open, numNodes: 4 }, { processGroup: new GroupOf(5, 6) }, {})).toThrow(
      error('CONFLICTING_OPTIONS', /numNodes is 4.*6 ranks/),
    );
    expect(() => planWorld({ ...open, devices: 2 }, { processGroup: new SingleProcessGroup() }, {})).toThrow(
      error('CONFLICTING_OPTIONS', /devices 2.*process group 'single' has started 1/),
    );
  });

  it('of several machines needs a launcher, or to know which machine this is', () => {
    const world = planWorld({ devices: 2, numNodes: 2 }, {}, {}) satisfies World;
    expect(() => refuseNodesWithoutLauncher(world, 2, {})).toThrow(
      error('CONFLICTING_OPTIONS', /numNodes is 2.*tensorloom launch --num-nodes=2.*MASTER_ADDR/),
    );
    expect(() => refuseNodesWithoutLauncher(world, 2, { NODE_RANK: '1' })).not.toThrow();
  });
});

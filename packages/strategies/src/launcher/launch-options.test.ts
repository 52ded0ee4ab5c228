/** Which options the launcher refuses, and what it takes from the environment. */
import { expect, it } from 'vitest';
import { resolveLaunch, type LaunchOptions } from './launch-options.ts';

const one: LaunchOptions = { command: ['train'], devices: 2, variables: {} };
const many: LaunchOptions = { ...one, numNodes: 2, nodeRank: 1, mainAddress: 'host-0', token: 'secret' };

it('has defaults for one machine', () => {
  expect(resolveLaunch(one)).toMatchObject({
    numNodes: 1,
    nodeRank: 0,
    mainAddress: '127.0.0.1',
    mainPort: undefined,
    token: undefined,
    maxRestarts: 0,
    graceMs: 5000,
  });
});

it('takes what several machines need from options or from the environment', () => {
  expect(resolveLaunch(many)).toMatchObject({ numNodes: 2, nodeRank: 1, mainAddress: 'host-0', mainPort: 29500 });
  const variables = {
    JOB_COMPLETION_INDEX: '1',
    MASTER_ADDR: 'pod-0',
    MASTER_PORT: '4000',
    TENSORLOOM_TOKEN: 'secret',
  };
  expect(resolveLaunch({ ...one, numNodes: 2, variables })).toMatchObject({
    nodeRank: 1,
    mainAddress: 'pod-0',
    mainPort: 4000,
    token: 'secret',
  });
  expect(resolveLaunch({ ...many, variables: { NODE_RANK: '0', MASTER_ADDR: 'other' } })).toMatchObject({
    nodeRank: 1,
    mainAddress: 'host-0',
  });
});

it.each<[Partial<Record<keyof LaunchOptions | 'gpus', unknown>>, RegExp]>([
  [{ devices: 0 }, /devices is 0; expected a whole number of ranks, 1 to 4096/],
  [{ devices: 1.5 }, /devices is 1.5; expected a whole number of ranks/],
  [{ command: [] }, /command is \[\]; expected a program and its arguments/],
  [{ mainPort: 0 }, /mainPort is 0; expected a port, 1 to 65535/],
  [{ mainPort: 65536 }, /mainPort is 65536; expected a port/],
  [{ nodeRank: 2 }, /nodeRank is 2, but numNodes is 2; expected 0 to 1/],
  [{ nodeRank: -1 }, /nodeRank is -1/],
  [{ mainAddress: 'a b' }, /mainAddress is "a b"; expected a host name or an address/],
  [{ threads: 0 }, /threads is 0; expected a whole number of threads/],
  [{ maxRestarts: -1 }, /maxRestarts is -1/],
  [{ graceMs: -1 }, /graceMs is -1; expected milliseconds/],
  [{ token: '' }, /token is empty or no text/],
  [{ gpus: 2 }, /it has no option 'gpus' \(it has: command, devices/],
  [{ devices: 0, mainPort: 0 }, /devices is 0.*; mainPort is 0/],
  [
    { nodeRank: undefined, mainAddress: undefined, token: undefined },
    /numNodes is 2; give nodeRank .* and mainAddress .* and token \(TENSORLOOM_TOKEN/,
  ],
  [{ variables: { TENSORLOOM_THREADS: 'all' } }, /TENSORLOOM_THREADS is 'all'/],
  [{ nodeRank: undefined, variables: { NODE_RANK: 'x' } }, /NODE_RANK is 'x'/],
])('refuses %o', (change, message) => {
  expect(() => resolveLaunch({ ...many, ...change } as LaunchOptions)).toThrow(message);
});

it('names options as its caller does', () => {
  const optionName = (option: string): string => `<${option}>`;
  expect(() => resolveLaunch({ ...one, devices: 0, optionName })).toThrow(/<devices> is 0/);
  expect(() => resolveLaunch({ ...many, nodeRank: 2, optionName })).toThrow(/<nodeRank> is 2, but <numNodes> is 2/);
  expect(() => resolveLaunch({ ...one, numNodes: 2, nodeRank: 0, optionName })).toThrow(
    /<numNodes> is 2; give <mainAddress> \(MASTER_ADDR.* and <token> \(TENSORLOOM_TOKEN/,
  );
});

/** Process groups by name, and what `auto` chooses. */
import { processGroups, SingleProcessEnvironment, SingleProcessGroup } from '@tensorloom/core';
import { describe, expect, it } from 'vitest';
import { chooseProcessGroup, missingFor } from './make-process-group.ts';
import './register.ts';

const environment = new SingleProcessEnvironment();
const hasShm = (await missingFor('shm')) === null;

describe('the registry of process groups', () => {
  it('has them all', () => {
    expect(processGroups.names()).toEqual(expect.arrayContaining(['auto', 'local', 'mpi', 'shm', 'shm+ws', 'ws']));
  });

  it('needs no thread for one rank', async () => {
    expect(await processGroups.get('auto').create({ environment, options: {} })).toBeInstanceOf(SingleProcessGroup);
  });

  it('cannot make `local` by name', async () => {
    await expect(processGroups.get('local').create({ environment, options: {} })).rejects.toThrow(/use 'shm'/);
  });

  it.runIf(hasShm)('refuses options that a group does not have', async () => {
    await expect(processGroups.get('shm').create({ environment, options: { colour: 'red' } })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringContaining("'colour'") as string,
    });
    await expect(processGroups.get('ws').create({ environment, options: { trace: 'yes' } })).rejects.toThrow(
      /trace is "yes"/,
    );
  });
});

describe('auto', () => {
  it('leaves it to all ranks together where there are several hosts', async () => {
    expect(await chooseProcessGroup({ worldSize: 4, localWorldSize: 1 }, undefined)).toBe('shm+ws or ws');
    expect(await chooseProcessGroup({ worldSize: 4, localWorldSize: 2 }, undefined)).toBe('shm+ws or ws');
  });

  it.runIf(hasShm)('takes shared memory within a host', async () => {
    expect(await chooseProcessGroup({ worldSize: 4, localWorldSize: 4 }, undefined)).toBe('shm');
  });

  it('takes MPI where the environment prefers it and it is there', async () => {
    const hasMpi = (await missingFor('mpi')) === null;
    expect((await chooseProcessGroup({ worldSize: 4, localWorldSize: 4 }, 'mpi')) === 'mpi').toBe(hasMpi);
  });
});

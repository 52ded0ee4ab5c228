/** Options of `mpi`, and what is said where it is missing. */
import { expect, it } from 'vitest';
import { loadMpi, mpiUnavailable } from './mpi-library.ts';
import { parseMpiOptions } from './mpi-options.ts';

it('has defaults', () => {
  expect(parseMpiOptions({})).toEqual({ nonBlocking: false });
});

it.each([
  [{ nonblocking: true }, /it has no option 'nonblocking' \(it has: nonBlocking, library\)/],
  [{ nonBlocking: 'yes' }, /nonBlocking is "yes"; expected true or false/],
  [{ library: '' }, /library is ""; expected a file/],
])('refuses %j', (options, message) => {
  expect(() => parseMpiOptions(options)).toThrow(message);
});

it('says how to get Open MPI where it is not', async () => {
  const missing = await mpiUnavailable('/no/libmpi.so');
  expect(missing).toContain('No MPI library was found (/no/libmpi.so: ');
  expect(missing).toContain('`apt-get install openmpi-bin libopenmpi3`');
});

it.runIf(process.platform === 'linux')('does not take another library for Open MPI', async () => {
  await expect(loadMpi('libc.so.6')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

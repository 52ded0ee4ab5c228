/** For tests: whether ranks can be started by mpirun. */
import { spawnSync } from 'node:child_process';
import { missingFor } from '../process-groups/make-process-group.ts';

/** False is said, and with `TENSORLOOM_REQUIRE_MPI=1` it is an error: then nothing may be left out. */
export async function hasMpi(): Promise<boolean> {
  const isThere = spawnSync('mpirun', ['--version']).status === 0;
  const reason = isThere ? await missingFor('mpi') : 'there is no mpirun (`apt-get install openmpi-bin libopenmpi3`)';
  if (reason === null) return true;
  if (process.env['TENSORLOOM_REQUIRE_MPI'] === '1') throw new Error(`TENSORLOOM_REQUIRE_MPI=1, but: ${reason}`);
  console.log(`The tests over mpi are left out: ${reason}`);
  return false;
}

/** The process group `mpi`: what the communication thread makes it from. */
export { createMpiTransport } from './mpi-transport.ts';
export { mpiUnavailable } from './mpi-library.ts';
export { parseMpiOptions, type MpiOptions } from './mpi-options.ts';

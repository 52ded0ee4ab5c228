/** Transports by medium, each loaded only where it is used. */
import { TensorloomError } from '@tensorloom/core/distributed';
import type { Transport, TransportFactory, TransportRequest } from '../transport.ts';
import type { Medium } from './protocol.ts';

const media: Readonly<Record<Medium, () => Promise<TransportFactory>>> = {
  shm: async () => (await import('../shm/shm-transport.ts')).createShmTransport,
  ws: async () => (await import('../ws/index.ts')).createWsTransport,
  mpi: async () => (await import('../mpi/mpi-transport.ts')).createMpiTransport,
  hierarchical: async () =>
    (await import('../hierarchical/create-hierarchical-transport.ts')).createHierarchicalTransport,
  sharing: async () => (await import('../hierarchical/create-hierarchical-transport.ts')).createSharingTransport,
};

/** Meets the other ranks over `medium`. */
export async function makeTransport(medium: Medium, request: TransportRequest): Promise<Transport> {
  const load = media[medium] as (() => Promise<TransportFactory>) | undefined;
  if (load === undefined) throw new TensorloomError('UNKNOWN_NAME', `There is no medium '${medium}'.`);
  const create = await load();
  return create(request);
}

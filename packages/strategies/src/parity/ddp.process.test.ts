/** `ddp` against one process on the same effective batch. */
import { parityTests } from './parity-tests.testing.ts';

parityTests('ddp', { 'in small buckets': { bucketMegabytes: 1e-4 } });

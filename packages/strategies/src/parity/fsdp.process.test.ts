/** `fsdp` against one process on the same effective batch. */
import { parityTests } from './parity-tests.testing.ts';

parityTests('fsdp', {
  'keeping whole gradients over the window': { reduceEachMicroBatch: false },
  'without prefetch, keeping units through forward': { prefetch: false, reshardAfterForward: false },
});

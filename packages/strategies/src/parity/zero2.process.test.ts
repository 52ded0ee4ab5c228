/** `zero2` against one process on the same effective batch. */
import { parityTests } from './parity-tests.testing.ts';

parityTests('zero2', { 'reducing when the window closes only': { reduceEachMicroBatch: false } });

/** `zero1` against one process on the same effective batch. */
import { parityTests } from './parity-tests.testing.ts';

parityTests('zero1');

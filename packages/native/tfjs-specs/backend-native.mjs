/** The backend `native`, registered as the accelerator does it. */
import { registerNativeBackend, startEngine } from '../src/backend.ts';

startEngine(2);
registerNativeBackend();

/** The accelerator `native` in tests. Where its addon is not built tests are left out, with a message, unless TENSORLOOM_REQUIRE_NATIVE is 1. */
import { NativeAccelerator } from './accelerator.ts';

const accelerator = new NativeAccelerator();
const reason = await accelerator.unavailable();

/** Whether tests can use the engine. */
export const nativeIsBuilt = reason === null;

if (reason !== null) {
  if (process.env['TENSORLOOM_REQUIRE_NATIVE'] === '1')
    throw new Error(`The accelerator 'native' cannot be used: ${reason}`);
  console.log(`Tests of the accelerator 'native' are left out: ${reason}`);
}

/** Makes `native` the backend of this process, on two threads. */
export async function activateNative(): Promise<void> {
  await accelerator.activate({ threads: 2 });
}

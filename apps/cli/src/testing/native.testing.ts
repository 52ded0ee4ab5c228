/** For tests: whether the accelerator `native` can be used; where it must be there (TENSORLOOM_REQUIRE_NATIVE=1), its absence is a failure. */
import '@tensorloom/native';
import { accelerators } from '@tensorloom/core';

/** Null if it can; else why not, which is said once. */
export async function whyNotNative(): Promise<string | null> {
  const reason = await accelerators.get('native').create().unavailable();
  if (reason === null) return null;
  if (process.env['TENSORLOOM_REQUIRE_NATIVE'] === '1') throw new Error(`TENSORLOOM_REQUIRE_NATIVE=1, but: ${reason}`);
  console.log(`not tried on accelerator native: ${reason}`);
  return reason;
}

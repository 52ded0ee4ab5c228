/** For tests: the tfjs backends that must give the same results. */
import { accelerators } from '../accelerators/accelerator.ts';
import '../accelerators/cpu.ts';
import '../accelerators/tensorflow.ts';
import '../accelerators/wasm.ts';

// Asked once, here: tests are laid out over the backends before any of them runs. After a plain `npm ci` the package is
// there without its native part, so only loading it tells.
const withoutTensorflow = await accelerators.get('tensorflow').create().unavailable();

/** Names of the backends to test on: `cpu` and `wasm` always, `tensorflow` where it is set up. */
export function testBackends(): string[] {
  if (withoutTensorflow === null) return ['cpu', 'wasm', 'tensorflow'];
  if (process.env['TENSORLOOM_REQUIRE_TENSORFLOW'] === '1') throw new Error(withoutTensorflow);
  console.log(`not tested on tensorflow: ${withoutTensorflow}`);
  return ['cpu', 'wasm'];
}

/** Makes `name` the active backend. */
export async function useBackend(name: string): Promise<void> {
  await accelerators.get(name).create().activate({ deviceIndex: 0 });
}

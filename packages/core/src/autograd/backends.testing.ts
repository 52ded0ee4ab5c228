/** For tests: the tfjs backends that must give the same results. */
import { createRequire } from 'node:module';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { dirname } from 'node:path';
import { tf } from '../tensors.ts';

const require = createRequire(import.meta.url);

/** Names of the backends to test on: `cpu` and `wasm` always, `tensorflow` where it is installed. */
export function testBackends(): string[] {
  const backends = ['cpu', 'wasm'];
  try {
    require.resolve('@tensorflow/tfjs-node');
    backends.push('tensorflow');
  } catch (error) {
    if (process.env['TENSORLOOM_REQUIRE_TENSORFLOW'] === '1') throw error;
    console.log('@tensorflow/tfjs-node is not installed: not tested on it');
  }
  return backends;
}

/** Makes `name` the active backend. */
export async function useBackend(name: string): Promise<void> {
  if (name === 'wasm') setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm'))}/`);
  if (name === 'tensorflow') {
    process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
    require('@tensorflow/tfjs-node');
  }
  if (!(await tf.setBackend(name))) throw new Error(`The backend ${name} does not start`);
  await tf.ready();
}

/** What happens to a process that is stuck in a blocking call. */
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { SOURCE_ARGUMENTS } from '../../testing/scenario.testing.ts';

function run(code: string): ReturnType<typeof spawnSync> {
  const module = new URL('./watchdog.ts', import.meta.url).href;
  const block = 'const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);';
  const script = `const { Watchdog } = await import('${module}'); ${block} ${code}`;
  const parameters = [...SOURCE_ARGUMENTS, '--input-type=module', '-e', script];
  return spawnSync(process.execPath, parameters, { encoding: 'utf8', timeout: 100_000, killSignal: 'SIGTERM' });
}

it('is killed, and says which call did not end', () => {
  const { signal, stderr } = run(`new Watchdog(3, 200).watch('Bcast', () => block(undefined));`);
  expect(signal).toBe('SIGKILL');
  expect(stderr).toContain('MPI_Bcast of rank 3 did not end within 0.2 s: another rank has stopped');
});

it('lives if its calls end, however many there are', () => {
  const { status, stderr } = run(`
    const dog = new Watchdog(0, 60_000);
    for (let i = 0; i < 50; i++) dog.watch('Allreduce', () => block(5));
    block(100);
    await dog.close();`);
  expect(stderr).toBe('');
  expect(status).toBe(0);
});

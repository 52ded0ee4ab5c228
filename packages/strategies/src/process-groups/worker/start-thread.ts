/** Threads from modules of this package: from its TypeScript sources (by tsx) as well as from what is built. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/** Starts a thread that runs the module at `url`. */
export function startThread(url: URL, options: WorkerOptions): Worker {
  if (!url.pathname.endsWith('.ts')) return new Worker(url, { ...options, execArgv: [] });
  // Node.js 20 does not apply `--import tsx` to the first module of a thread, so the thread registers it itself.
  const tsx = new URL(
    'dist/esm/api/index.mjs',
    pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json')),
  ).href;
  const start = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(url.href)}); })`;
  return new Worker(start, { ...options, eval: true, execArgv: ['--conditions=@tensorloom/source'] });
}

/** For tests: ranks as threads of this process, each running a module that posts one result. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

/** What each rank has posted, by rank. @param dataOf what a rank finds as its `workerData` */
export async function runRankThreads<Result>(
  module: URL,
  worldSize: number,
  dataOf: (rank: number) => object,
): Promise<Result[]> {
  // Node.js 20 does not apply `--import tsx` to the first module of a thread, so that it registers tsx itself.
  const tsxPackage = pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'));
  const tsx = new URL('dist/esm/api/index.mjs', tsxPackage).href;
  const start = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(module.href)}); })`;
  const workers = Array.from(
    { length: worldSize },
    (_, rank) =>
      new Worker(start, { eval: true, workerData: dataOf(rank), execArgv: ['--conditions=@tensorloom/source'] }),
  );
  try {
    return await Promise.all(
      workers.map(
        (worker) =>
          new Promise<Result>((resolve, reject) => {
            worker.once('message', resolve);
            worker.once('error', reject);
            worker.once('exit', (code) => {
              reject(new Error(`a rank ended (${code}) without a result`));
            });
          }),
      ),
    );
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** Ranks as threads of the test's own process, over a `local` group. */
import type { Worker } from 'node:worker_threads';
import { localMemory, LocalProcessGroup } from '../process-groups/local/local-group.ts';
import { startThread } from '../process-groups/worker/start-thread.ts';
import type { ToldError } from './scenario.testing.ts';

/** What a thread is given. */
export interface LocalRankData {
  readonly rank: number;
  readonly worldSize: number;
  readonly memory: SharedArrayBuffer;
  readonly collectiveTimeoutMs: number;
  readonly scenarioUrl: string;
  readonly input: unknown;
}

/** What a thread answers. */
export type LocalRankAnswer = { readonly result: unknown } | { readonly error: ToldError & { readonly stack: string } };

/**
 * Runs a scenario on `worldSize` ranks, each a thread, and returns their results by rank. If one fails, the group is aborted
 * and the first error is thrown, with the rank in its message and its `code`.
 */
export async function runLocalRanks<R>(
  worldSize: number,
  scenarioUrl: string | URL,
  input?: unknown,
  options: { readonly collectiveTimeoutMs?: number } = {},
): Promise<R[]> {
  const memory = localMemory(worldSize);
  const collectiveTimeoutMs = options.collectiveTimeoutMs ?? 60_000;
  const workers: Worker[] = [];
  let aborted = false;
  const ranks = Array.from({ length: worldSize }, (_, rank) => {
    const workerData: LocalRankData = {
      rank,
      worldSize,
      memory,
      collectiveTimeoutMs,
      scenarioUrl: String(scenarioUrl),
      input,
    };
    const url = new URL('./local-rank.testing.ts', import.meta.url);
    const worker = startThread(url, { workerData });
    workers.push(worker);
    return new Promise<R>((resolve, reject) => {
      let hasAnswered = false;
      const fail = (error: Error): void => {
        reject(error);
        if (aborted) return;
        aborted = true;
        abortAll(memory, worldSize, error.message);
      };
      worker.once('message', (answer: LocalRankAnswer) => {
        hasAnswered = true;
        if ('result' in answer) resolve(answer.result as R);
        else
          fail(
            Object.assign(new Error(`rank ${rank}: ${answer.error.message}\n${answer.error.stack}`), {
              code: answer.error.code,
            }),
          );
      });
      worker.once('error', (error) => {
        fail(new Error(`rank ${rank}: ${String(error)}`, { cause: error }));
      });
      worker.once('exit', (code) => {
        // A rank that is done may end while others still work on what it has sent them.
        if (!hasAnswered) fail(new Error(`rank ${rank}: the thread ended (${code}) without a result`));
      });
    });
  });
  try {
    const settled = await Promise.allSettled(ranks);
    const failures = settled.flatMap((each) =>
      each.status === 'rejected' ? [each.reason as Error & { code?: string }] : [],
    );
    // The others' "aborted" are only consequences.
    const first = failures.find((error) => error.code !== 'ABORTED') ?? failures[0];
    if (first !== undefined) throw first;
    return settled.map((each) => (each as PromiseFulfilledResult<R>).value);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function abortAll(memory: SharedArrayBuffer, worldSize: number, reason: string): void {
  new LocalProcessGroup({ rank: 0, worldSize, memory }).abort(reason);
}

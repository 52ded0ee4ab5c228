/**
 * One rank of Tensorloom in the collectives bench; finds the others by its environment; rank zero prints one JSON line.
 *
 *     loom-collectives.ts PROCESS_GROUP BYTES REPEATS SMALL_BYTES SMALL_REPEATS
 */
import { detectClusterEnvironment, processGroups } from '@tensorloom/core';
import '@tensorloom/strategies';

const [name, ...numbers] = process.argv.slice(2);
const [largeBytes, repeats, smallBytes, smallRepeats] = numbers.map(Number);
const environment = detectClusterEnvironment(process.env);
if (name === undefined || smallRepeats === undefined || environment === null)
  throw new Error('usage: loom-collectives.ts PROCESS_GROUP BYTES REPEATS SMALL_BYTES SMALL_REPEATS, under a launcher');
const group = await processGroups.get(name).create({ environment, options: {} });

/** Best seconds of one all-reduce over `times` measurements of `batch` calls. */
async function measure(bytes: number, times: number, batch: number): Promise<number> {
  const data = group.allocate('float32', bytes / 4);
  data.fill(1);
  let best = Infinity;
  for (let i = 0; i < times; i++) {
    await group.barrier();
    const started = performance.now();
    // As the peers do, each call is waited for by blocking.
    for (let j = 0; j < batch; j++) group.allReduce(data, 'sum').waitSync();
    best = Math.min(best, (performance.now() - started) / 1000 / batch);
  }
  data.fill(1);
  await group.allReduce(data, 'sum');
  if (data[0] !== group.worldSize || data.at(-1) !== group.worldSize) throw new Error('the sum is wrong');
  return best;
}

const large = await measure(largeBytes as number, repeats as number, 1);
const small = await measure(smallBytes as number, smallRepeats, 100);
if (group.rank === 0) process.stdout.write(`${JSON.stringify({ largeSeconds: large, smallSeconds: small })}\n`);
await group.close();

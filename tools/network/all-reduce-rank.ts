/**
 * One rank that all-reduces over ws again and again, checking each sum; says `started` after the first and `done` at the end.
 *
 *     all-reduce-rank.ts SECONDS RANK_TIMEOUT_MS
 */
import { detectClusterEnvironment, processGroups, TensorloomError } from '@tensorloom/core';
import '@tensorloom/strategies';

const [seconds, rankTimeoutMs] = process.argv.slice(2).map(Number);
const environment = detectClusterEnvironment(process.env);
if (seconds === undefined || rankTimeoutMs === undefined || environment === null)
  throw new Error('usage: all-reduce-rank.ts SECONDS RANK_TIMEOUT_MS, with the variables of a launcher');
try {
  const group = await processGroups.get('ws').create({ environment, rankTimeoutMs, options: {} });
  const data = group.allocate('float32', 1_000_003);
  const ends = performance.now() + seconds * 1000;
  const goOn = new Int32Array(1);
  for (let round = 0; ; round++) {
    data.forEach((_, i) => (data[i] = ((i + round) % 1000) + group.rank));
    await group.allReduce(data, 'sum');
    const ranks = (group.worldSize * (group.worldSize - 1)) / 2;
    const wrong = data.findIndex((value, i) => value !== ((i + round) % 1000) * group.worldSize + ranks);
    if (wrong >= 0) throw new Error(`round ${round}: element ${wrong} is ${data[wrong]}`);
    if (round === 0) console.log('started');
    // All ranks end in the same round.
    goOn[0] = Number(performance.now() < ends);
    await group.allReduce(goOn, 'min');
    if (goOn[0] === 0) break;
  }
  await group.close();
  console.log('done');
} catch (error) {
  console.error(error instanceof TensorloomError ? `${error.code}: ${error.message}` : error);
  process.exit(1);
}

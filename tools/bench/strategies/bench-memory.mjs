/** `nx run cli:bench -- memory`: parameter, gradient and optimizer bytes per rank, at BLOOM-560m's shape with a few layers. */
import { parseArgs } from 'node:util';
import { runStrategy } from './bench-strategies.mjs';

/** @param {string[]} args */
export async function benchMemory(args) {
  const { values } = parseArgs({
    args,
    options: {
      strategies: { type: 'string', default: 'ddp,zero1,zero2,fsdp' },
      devices: { type: 'string', default: '2' },
      accelerator: { type: 'string', default: 'tensorflow' },
      'process-group': { type: 'string', default: 'auto' },
      vocabulary: { type: 'string', default: '250880' },
      layers: { type: 'string', default: '4' },
      tokens: { type: 'string', default: '64' },
    },
  });
  const common = {
    accelerator: values.accelerator,
    processGroup: values['process-group'],
    vocabularySize: Number(values.vocabulary),
    hidden: 1024,
    layers: Number(values.layers),
    heads: 16,
    tokens: Number(values.tokens),
    batchSize: 1,
    accumulate: 2,
    warmUpSteps: 0,
    steps: 2,
    measureMemory: true,
  };
  const devices = Number(values.devices);
  const rows = [];
  const jobs = [['accumulate', 1], ...values.strategies.split(',').map((strategy) => [strategy, devices])];
  for (const [strategy, ranks] of jobs) {
    const { byRank } = await runStrategy(ranks, 1, { ...common, strategy });
    const largest = (key) => `${(Math.max(...byRank[key]) / 2 ** 20).toFixed(1)} MiB`;
    const keys = Object.keys(byRank);
    rows.push({ strategy, ranks, ...Object.fromEntries(keys.map((key) => [key, largest(key)])) });
    console.log(JSON.stringify(rows.at(-1)));
  }
  console.table(rows);
}

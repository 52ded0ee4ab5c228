/** `nx run cli:bench -- strategies`: tokens/s of strategies on N ranks of one thread against one process of N threads, in turns. */
import { cpus } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { rankEnvironments, runRanks } from '../collectives/rank-job.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));

/** Runs one job of a strategy on `devices` ranks; gives what rank zero prints. */
export async function runStrategy(devices, threads, options) {
  const node = ['--conditions=@tensorloom/source', '--import', 'tsx', path.join(here, 'loom-strategy.ts')];
  const environments = devices === 1 ? [singleEnvironment(threads)] : await rankEnvironments(devices, String(threads));
  return runRanks(options.strategy, process.execPath, [...node, JSON.stringify({ ...options, threads })], environments);
}

function singleEnvironment(threads) {
  const names = ['OMP_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS'];
  return {
    ...process.env,
    ...Object.fromEntries(names.map((name) => [name, String(threads)])),
    TF_CPP_MIN_LOG_LEVEL: '2',
  };
}

/** @param {string[]} args */
export async function benchStrategies(args) {
  const { values } = parseArgs({
    args,
    options: {
      strategies: { type: 'string', default: 'ddp,zero1,zero2,fsdp' },
      devices: { type: 'string', default: '2' },
      accelerator: { type: 'string', default: 'tensorflow' },
      'process-group': { type: 'string', default: 'auto' },
      vocabulary: { type: 'string', default: '8192' },
      hidden: { type: 'string', default: '1024' },
      layers: { type: 'string', default: '2' },
      heads: { type: 'string', default: '16' },
      tokens: { type: 'string', default: '256' },
      'batch-size': { type: 'string', default: '1' },
      accumulate: { type: 'string', default: '16' },
      steps: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '3' },
      trace: { type: 'string' },
    },
  });
  const devices = Number(values.devices);
  const common = {
    accelerator: values.accelerator,
    processGroup: values['process-group'],
    vocabularySize: Number(values.vocabulary),
    hidden: Number(values.hidden),
    layers: Number(values.layers),
    heads: Number(values.heads),
    tokens: Number(values.tokens),
    batchSize: Number(values['batch-size']),
    warmUpSteps: 1,
    steps: Number(values.steps),
    measureMemory: false,
  };
  const accumulate = Number(values.accumulate);
  const traceTo = (strategy) => values.trace && { traceFile: path.resolve(`${values.trace}-${strategy}.json`) };
  const jobs = [
    ['accumulate, 1 process', () => runStrategy(1, devices, { ...common, strategy: 'accumulate', accumulate })],
    ...values.strategies
      .split(',')
      .map((strategy) => [
        `${strategy}, ${devices} ranks`,
        () => runStrategy(devices, 1, { ...common, strategy, accumulate: accumulate / devices, ...traceTo(strategy) }),
      ]),
  ];
  console.log(`${cpus()[0].model}; ${devices} threads in all; best of ${values.rounds} rounds in turns`);
  const best = new Map();
  const hiddenShares = new Map();
  for (let round = 0; round < Number(values.rounds); round += 1)
    for (const [name, run] of jobs) {
      const { tokensPerSecond, hidden } = await run();
      hiddenShares.set(name, hidden);
      best.set(name, Math.max(best.get(name) ?? 0, tokensPerSecond));
    }
  const [reference] = best.values();
  console.table(
    [...best].map(([name, rate]) => ({
      job: name,
      'tokens/s': rate.toFixed(0),
      ratio: (rate / reference).toFixed(2),
      ...(values.trace && { 'communication during forward and backward': percent(hiddenShares.get(name)) }),
    })),
  );
}

function percent(share) {
  return typeof share === 'number' ? `${(share * 100).toFixed(0)} %` : '';
}

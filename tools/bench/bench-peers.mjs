/** `nx run cli:bench -- peers`: time and memory of training BLOOM, Tensorloom against PyTorch + transformers on the same batches, in turns. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { makeBatches } from './batches.mjs';
import { PeerProcess } from './peer-process.mjs';
import { provideVenv, python } from './venv.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    // bloom-560m, but for the number of its layers: 24 is the whole.
    layers: { type: 'string', default: '24' },
    hidden: { type: 'string', default: '1024' },
    heads: { type: 'string', default: '16' },
    vocabulary: { type: 'string', default: '250880' },
    tokens: { type: 'string', default: '64,256,1024' },
    'batch-size': { type: 'string', default: '1' },
    // Measured in a round; the step's share is that of a window of --accumulate.
    'micro-batches': { type: 'string', default: '2' },
    accumulate: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(availableParallelism()) },
    accelerator: { type: 'string', default: 'native' },
    precision: { type: 'string', default: '32-true' },
    'activation-checkpointing': { type: 'boolean', default: false },
    // Any of these, in turns; speeds are given against the last. All their models are in memory at once.
    sides: { type: 'string', default: 'tensorloom,pytorch' },
    'fused-adam': { type: 'boolean', default: false },
  },
});
const accumulate = Number(options.accumulate);
const batchSize = Number(options['batch-size']);

/** Both sides use the same number of threads, whatever their libraries' defaults. */
function environment(threads) {
  const names = ['OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS'];
  return { ...process.env, ...Object.fromEntries(names.map((name) => [name, threads])), TF_CPP_MIN_LOG_LEVEL: '2' };
}

/** The sides by the names that --sides takes: `compiled` is Tensorloom with --compile. */
const startSide = {
  tensorloom: (folder, batchesFile) => startTensorloom('Tensorloom', folder, batchesFile, false),
  compiled: (folder, batchesFile) => startTensorloom('Tensorloom compiled', folder, batchesFile, true),
  pytorch(folder, batchesFile) {
    // What halves PyTorch has on CPUs is bfloat16 under autocast.
    const precision = options.precision === '32-true' ? '32-true' : 'bf16-mixed';
    const args = [path.join(here, 'peer_bloom.py'), 'serve', folder, batchesFile, options.threads, precision];
    if (options['fused-adam']) args.push('--fused-adam');
    return new PeerProcess('PyTorch', python, args, environment(options.threads));
  },
};
const sideNames = options.sides.split(',');
for (const name of sideNames)
  if (!Object.hasOwn(startSide, name))
    throw new Error(`--sides has '${name}'; the sides are ${Object.keys(startSide).join(', ')}.`);

function startTensorloom(name, folder, batchesFile, compile) {
  const side = {
    accelerator: options.accelerator,
    precision: options.precision,
    compile,
    activationCheckpointing: options['activation-checkpointing'],
    threads: Number(options.threads),
  };
  const args = ['--conditions=@tensorloom/source', '--import', 'tsx', path.join(here, 'loom-bloom.ts')];
  return new PeerProcess(
    name,
    process.execPath,
    [...args, folder, batchesFile, JSON.stringify(side)],
    environment(options.threads),
  );
}

/** Where a peer trains on the same batches, its losses must be ours but for rounding. */
function checkLosses(ours, theirs) {
  const difference = Math.max(...ours.map((loss, index) => Math.abs(loss - theirs[index])));
  const bound = options.precision === '32-true' ? 5e-3 : 5e-2;
  // Also false for a loss that is not a number.
  if (!(difference <= bound)) throw new Error(`the two sides do not train alike: losses differ by ${difference}`);
}

/** Trains all sides in turns; the best times of each. */
async function measure(folder, tokens) {
  const microBatches = Number(options['micro-batches']);
  const rounds = Number(options.rounds);
  const batchesFile = path.join(folder, `batches-${tokens}.json`);
  const vocabularySize = Number(options.vocabulary);
  const count = microBatches * (rounds + 1);
  writeFileSync(batchesFile, JSON.stringify(makeBatches({ count, batchSize, tokens, vocabularySize })));
  const sides = sideNames.map((name) => startSide[name](folder, batchesFile));
  try {
    for (const side of sides) {
      const { what, parameters } = await side.answer();
      console.log(`  ${side.name}: ${what}, ${parameters.toLocaleString('en')} parameters`);
    }
    const best = sides.map(() => ({ microBatchSeconds: Infinity, stepSeconds: Infinity, peakBytes: 0 }));
    for (let round = 0; round <= rounds; round += 1) {
      const indices = Array.from({ length: microBatches }, (_, i) => round * microBatches + i);
      const results = [];
      for (const side of sides) results.push(await side.train(indices));
      for (const { losses } of results) checkLosses(losses, results.at(-1).losses);
      for (const [i, { microBatchSeconds, stepSeconds, peakBytes }] of results.entries()) {
        best[i].peakBytes = peakBytes;
        // The first round warms all up: memory, kernels, caches.
        if (round === 0) continue;
        best[i].microBatchSeconds = Math.min(best[i].microBatchSeconds, microBatchSeconds);
        best[i].stepSeconds = Math.min(best[i].stepSeconds, stepSeconds);
      }
    }
    return sides.map(({ name }, i) => ({
      name,
      tokens,
      ...best[i],
      seconds: best[i].microBatchSeconds + best[i].stepSeconds / accumulate,
    }));
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

provideVenv();
console.log(
  `${cpus()[0].model}, ${options.threads} threads; best of ${options.rounds} rounds of ${options['micro-batches']} micro-batches of ` +
    `${batchSize} and one step, in turns; "seconds": a micro-batch with its share of a step each ${accumulate}`,
);
const folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-bench-'));
const rows = [];
try {
  const config = {
    vocab_size: Number(options.vocabulary),
    hidden_size: Number(options.hidden),
    n_layer: Number(options.layers),
    n_head: Number(options.heads),
    hidden_dropout: 0,
    attention_dropout: 0,
    pad_token_id: 3,
    num_labels: 2,
  };

  const writeModel = [path.join(here, 'peer_bloom.py'), 'write-model', folder, JSON.stringify(config)];
  execFileSync(python, writeModel, { stdio: ['ignore', 'ignore', 'pipe'] });
  for (const tokens of options.tokens.split(',').map(Number)) {
    const measured = await measure(folder, tokens);
    for (const { name, seconds, microBatchSeconds, stepSeconds, peakBytes } of measured)
      rows.push({
        tokens,
        side: name,
        'micro-batch s': microBatchSeconds.toFixed(3),
        'step s': stepSeconds.toFixed(3),
        seconds: seconds.toFixed(3),
        'peak GB': (peakBytes / 1e9).toFixed(2),
        [`speed against ${measured.at(-1).name}`]: (measured.at(-1).seconds / seconds).toFixed(2),
      });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.table(rows);

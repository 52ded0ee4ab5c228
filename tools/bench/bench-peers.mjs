/** `npm run bench:peers`: training speed of a BLOOM of bloom-560m's block shape, Tensorloom on tensorflow against PyTorch + transformers. */
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
    vocabularies: { type: 'string', default: '8192,250880' },
    tokens: { type: 'string', default: '64,256,1024' },
    'batch-size': { type: 'string', default: '1' },
    hidden: { type: 'string', default: '1024' },
    layers: { type: 'string', default: '2' },
    heads: { type: 'string', default: '16' },
    steps: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(availableParallelism()) },
    accelerator: { type: 'string', default: 'tensorflow' },
    'fused-adam': { type: 'boolean', default: false },
  },
});
const listOf = (text) => text.split(',').map(Number);

/** Both sides use the same number of threads, whatever their libraries' defaults. */
function environment(threads) {
  const names = ['OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS'];
  return { ...process.env, ...Object.fromEntries(names.map((name) => [name, threads])), TF_CPP_MIN_LOG_LEVEL: '2' };
}

function startPeers(folder, batchesFile) {
  const env = environment(options.threads);
  const loomArgs = ['--conditions=@tensorloom/source', '--import', 'tsx', path.join(here, 'loom-bloom.ts')];
  const peerArgs = [path.join(here, 'peer_bloom.py'), 'serve', folder, batchesFile, options.threads];
  return [
    new PeerProcess('Tensorloom', process.execPath, [...loomArgs, folder, batchesFile, options.accelerator], env),
    new PeerProcess('PyTorch', python, options['fused-adam'] ? [...peerArgs, '--fused-adam'] : peerArgs, env),
  ];
}

/** The largest difference between the two sides' losses; the same weights and batches must give the same training. */
function largestDifference(ours, theirs) {
  return Math.max(...ours.map((loss, index) => Math.abs(loss - theirs[index])));
}

/** Trains both sides on the same batches, in turns, and gives the best tokens per second of each. */
async function compare(folder, { vocabularySize, tokens }) {
  const batchSize = Number(options['batch-size']);
  const steps = Number(options.steps);
  const rounds = Number(options.rounds);
  const batchesFile = path.join(folder, `batches-${tokens}.json`);
  writeFileSync(
    batchesFile,
    JSON.stringify(makeBatches({ count: steps * (rounds + 1), batchSize, tokens, vocabularySize })),
  );
  const peers = startPeers(folder, batchesFile);
  try {
    for (const peer of peers) {
      const { what, parameters } = await peer.answer();
      console.log(`  ${peer.name}: ${what}, ${parameters.toLocaleString('en')} parameters`);
    }
    const best = [Infinity, Infinity];
    let difference = 0;
    for (let round = 0; round <= rounds; round += 1) {
      const indices = Array.from({ length: steps }, (_, step) => round * steps + step);
      const results = [];
      for (const peer of peers) results.push(await peer.train(indices));
      difference = Math.max(difference, largestDifference(results[0].losses, results[1].losses));
      // The first round warms both up: memory, kernels, caches.
      if (round > 0) results.forEach((result, side) => (best[side] = Math.min(best[side], result.seconds)));
    }
    // Also false for a loss that is not a number.
    if (!(difference <= 5e-3)) throw new Error(`the two sides do not train alike: losses differ by ${difference}`);
    const [ours, theirs] = best.map((seconds) => (steps * batchSize * tokens) / seconds);
    console.log(
      `  vocabulary ${vocabularySize}, ${batchSize} x ${tokens} tokens: Tensorloom ${ours.toFixed(0)} tokens/s, ` +
        `PyTorch ${theirs.toFixed(0)} tokens/s, ratio ${(ours / theirs).toFixed(2)} (losses within ${difference.toExponential(1)})`,
    );
    return { vocabularySize, batchSize, tokens, tensorloom: ours, pytorch: theirs, ratio: ours / theirs };
  } finally {
    await Promise.all(peers.map((peer) => peer.close()));
  }
}

provideVenv();
console.log(
  `${cpus()[0].model}, ${options.threads} threads; best of ${options.rounds} rounds of ${options.steps} steps, in turns`,
);
const rows = [];
for (const vocabularySize of listOf(options.vocabularies)) {
  const folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-bench-'));
  try {
    const config = { vocab_size: vocabularySize, hidden_size: Number(options.hidden), n_layer: Number(options.layers) };
    const rest = {
      n_head: Number(options.heads),
      hidden_dropout: 0,
      attention_dropout: 0,
      pad_token_id: 3,
      num_labels: 2,
    };
    const writeModel = [
      path.join(here, 'peer_bloom.py'),
      'write-model',
      folder,
      JSON.stringify({ ...config, ...rest }),
    ];
    execFileSync(python, writeModel, { stdio: ['ignore', 'ignore', 'pipe'] });
    for (const tokens of listOf(options.tokens)) rows.push(await compare(folder, { vocabularySize, tokens }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
console.table(
  rows.map((row) => ({
    ...row,
    tensorloom: Math.round(row.tensorloom),
    pytorch: Math.round(row.pytorch),
    ratio: row.ratio.toFixed(2),
  })),
);

/** `nx run cli:bench -- peers`: time and memory of training BLOOM, Tensorloom against PyTorch + transformers on the same batches, in turns. */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { makeBatches } from './batches.mjs';
import { modelOptions, requireSides, startSide, withModel } from './sides.mjs';
import { provideVenv } from './venv.mjs';

const { values: options } = parseArgs({
  options: {
    ...modelOptions,
    tokens: { type: 'string', default: '64,256,1024' },
    'batch-size': { type: 'string', default: '1' },
    // Measured in a round; the step's share is that of a window of --accumulate.
    'micro-batches': { type: 'string', default: '2' },
    accumulate: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '3' },
    // Any of these, in turns; speeds are given against the last. All their models are in memory at once.
    sides: { type: 'string', default: 'tensorloom,pytorch' },
  },
});
const accumulate = Number(options.accumulate);
const batchSize = Number(options['batch-size']);
const sideNames = options.sides.split(',');
requireSides(sideNames);

/**
 * Where a peer trains on the same batches, its losses must be ours but for rounding. In halves only until the first step: Adam's first steps go by the sign of
 * a gradient, also of one that is all rounding, so that losses on random weights drift apart after them. Before it, at 1,024 tokens, those of
 * PyTorch's autocast were seen 0.1 from ours in bf16-mixed and in 16-mixed, which were 0.02 from each other.
 */
function checkLosses(round, ours, theirs) {
  const difference = Math.max(...ours.map((loss, index) => Math.abs(loss - theirs[index])));
  const inFull = options.precision === '32-true';
  if (!inFull && round > 0) {
    if (ours.every(Number.isFinite)) return;
    throw new Error(`a loss is not finite: ${ours.join(', ')}`);
  }
  const bound = inFull ? 5e-3 : 2e-1;
  // Also false for a loss that is not a number.
  if (!(difference <= bound))
    throw new Error(`the two sides do not train alike: losses ${ours.join(', ')} against ${theirs.join(', ')}`);
}

/** Trains all sides in turns; the best times of each. */
async function measure(folder, tokens) {
  const microBatches = Number(options['micro-batches']);
  const rounds = Number(options.rounds);
  const batchesFile = path.join(folder, `batches-${tokens}.json`);
  const vocabularySize = Number(options.vocabulary);
  const count = microBatches * (rounds + 1);
  writeFileSync(batchesFile, JSON.stringify(makeBatches({ count, batchSize, tokens, vocabularySize })));
  const sides = sideNames.map((name) => startSide(name, options, folder, batchesFile));
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
      for (const { losses } of results) checkLosses(round, losses, results.at(-1).losses);
      for (const [i, { microBatchSeconds, stepSeconds, peakBytes, activationBytes }] of results.entries()) {
        Object.assign(best[i], { peakBytes, activationBytes });
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
const rows = [];
await withModel(options, async (folder) => {
  for (const tokens of options.tokens.split(',').map(Number)) {
    const measured = await measure(folder, tokens);
    for (const { name, seconds, microBatchSeconds, stepSeconds, peakBytes, activationBytes } of measured)
      rows.push({
        tokens,
        side: name,
        'micro-batch s': microBatchSeconds.toFixed(3),
        'step s': stepSeconds.toFixed(3),
        seconds: seconds.toFixed(3),
        'peak GB': (peakBytes / 1e9).toFixed(2),
        'activations GB': activationBytes === undefined ? '' : (activationBytes / 1e9).toFixed(3),
        [`speed against ${measured.at(-1).name}`]: (measured.at(-1).seconds / seconds).toFixed(2),
      });
  }
});
console.table(rows);

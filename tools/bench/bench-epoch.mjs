/**
 * `nx run cli:bench -- epoch --imdb=PATH`: what an epoch of the blog's recipe costs as the blog wrote it (every review padded to 1,024 tokens, PyTorch)
 * against ours (each review as long as it is, compiled), in turns. A review of each length cannot be timed, so that evenly spaced ones are.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { makeBatches } from './batches.mjs';
import { modelOptions, startSide, withModel } from './sides.mjs';
import { provideVenv } from './venv.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const PADDED_TOKENS = 1024;

/** @param {string[]} args */
export async function benchEpoch(args) {
  const { values: options } = parseArgs({
    args,
    options: {
      ...modelOptions,
      // aclImdb_v1.tar.gz, or the folder it holds.
      imdb: { type: 'string' },
      // Reviews that are timed, a window of accumulation.
      reviews: { type: 'string', default: '16' },
      'padded-reviews': { type: 'string', default: '2' },
      rounds: { type: 'string', default: '2' },
    },
  });
  if (options.imdb === undefined) throw new Error('epoch needs --imdb=PATH, the path of aclImdb_v1.tar.gz.');
  const { reviews, mean, lengths } = readLengths(path.resolve(process.env.INIT_CWD ?? '.', options.imdb), options);
  provideVenv();
  console.log(
    `${cpus()[0].model}, ${options.threads} threads; ${reviews.toLocaleString('en')} reviews of ${mean.toFixed(0)} tokens on average; ` +
      `${lengths.length} of them (${lengths.join(', ')} tokens) against ${options['padded-reviews']} of ${PADDED_TOKENS}; best of ${options.rounds} rounds`,
  );
  const padded = Array.from({ length: Number(options['padded-reviews']) }, () => PADDED_TOKENS);
  const [ours, theirs] = await withModel(options, (folder) =>
    measure(
      [startReviews('compiled', lengths, folder, options), startReviews('pytorch', padded, folder, options)],
      options,
    ),
  );
  const hours = ({ microBatch, step }) => ((microBatch + step / 16) * reviews) / 3600;
  console.table(
    [ours, theirs].map((side) => ({
      side: side.peer.name,
      'micro-batch s (mean)': side.microBatch.toFixed(3),
      'step s': side.step.toFixed(3),
      'epoch, hours': hours(side).toFixed(1),
      'speed against PyTorch, padded': (hours(theirs) / hours(side)).toFixed(2),
    })),
  );
}

/** A side that trains on reviews of these lengths. */
function startReviews(name, lengths, folder, options) {
  const file = path.join(folder, `batches-${name}.json`);
  const vocabularySize = Number(options.vocabulary);
  const batches = lengths.flatMap((tokens, seed) =>
    makeBatches({ count: 1, batchSize: 1, tokens, vocabularySize, seed }),
  );
  writeFileSync(file, JSON.stringify(batches));
  return { peer: startSide(name, options, folder, file), lengths, microBatch: Infinity, step: Infinity };
}

/** Trains the sides in turns, each on all its reviews; the best means of each. */
async function measure(sides, { rounds }) {
  try {
    for (const { peer } of sides) console.log(`  ${peer.name}: ${(await peer.answer()).what}`);
    // The first round warms all up.
    for (let round = 0; round <= Number(rounds); round += 1)
      for (const side of sides) {
        const { microBatchSeconds, stepSeconds } = await side.peer.train(side.lengths.map((_, i) => i));
        if (round === 0) continue;
        side.microBatch = Math.min(side.microBatch, microBatchSeconds);
        side.step = Math.min(side.step, stepSeconds);
      }
    return sides;
  } finally {
    await Promise.all(sides.map(({ peer }) => peer.close()));
  }
}

/** Lengths of reviews, evenly spaced in their order; tokenizing them takes a minute the first time. */
function readLengths(imdb, options) {
  const args = ['--conditions=@tensorloom/source', '--import', 'tsx', path.join(here, 'imdb-lengths.ts')];
  return JSON.parse(execFileSync(process.execPath, [...args, imdb, options.reviews], { encoding: 'utf8' }));
}

/** The sides of the bench by the names that `--sides` takes, and the model that they train. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { PeerProcess } from './peer-process.mjs';
import { python } from './venv.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));

/** Options of `parseArgs` that say what is trained, and how. */
export const modelOptions = {
  // bloom-560m, but for the number of its layers: 24 is the whole.
  layers: { type: 'string', default: '24' },
  hidden: { type: 'string', default: '1024' },
  heads: { type: 'string', default: '16' },
  vocabulary: { type: 'string', default: '250880' },
  threads: { type: 'string', default: String(availableParallelism()) },
  accelerator: { type: 'string', default: 'native' },
  precision: { type: 'string', default: '32-true' },
  'activation-checkpointing': { type: 'boolean', default: false },
  'fused-adam': { type: 'boolean', default: false },
};

/** Both sides use the same number of threads, whatever their libraries' defaults. */
function environment(threads) {
  const names = ['OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS'];
  return { ...process.env, ...Object.fromEntries(names.map((name) => [name, threads])), TF_CPP_MIN_LOG_LEVEL: '2' };
}

/** Each starts a process that trains the model in `folder` on the batches of `batchesFile`. */
const starters = {
  tensorloom: (...given) => startTensorloom('Tensorloom', {}, ...given),
  // With --compile.
  compiled: (...given) => startTensorloom('Tensorloom compiled', { compile: true }, ...given),
  // Op by op, and without the kernels of fused operations: what --compile and fusion together are measured against.
  unfused: (...given) => startTensorloom('Tensorloom unfused', { fused: false }, ...given),
  pytorch(options, folder, batchesFile) {
    // What halves PyTorch has on CPUs is bfloat16 under autocast.
    const precision = options.precision === '32-true' ? '32-true' : 'bf16-mixed';
    const args = [path.join(here, 'peer_bloom.py'), 'serve', folder, batchesFile, options.threads, precision];
    if (options['fused-adam']) args.push('--fused-adam');
    return new PeerProcess('PyTorch', python, args, environment(options.threads));
  },
};

/** @throws Error for a name that is none of them */
export function requireSides(names) {
  for (const name of names)
    if (!Object.hasOwn(starters, name))
      throw new Error(`--sides has '${name}'; the sides are ${Object.keys(starters).join(', ')}.`);
}

export const startSide = (name, options, folder, batchesFile) => starters[name](options, folder, batchesFile);

function startTensorloom(name, { compile = false, fused = true }, options, folder, batchesFile) {
  const side = {
    accelerator: options.accelerator,
    precision: options.precision,
    compile,
    fused,
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

/**
 * Calls `work` with a folder of its own, which holds a BLOOM with random weights as transformers writes it, and is gone afterwards.
 * @template T @param {(folder: string) => Promise<T>} work @returns {Promise<T>}
 */
export async function withModel(options, work) {
  const folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-bench-'));
  try {
    writeModel(folder, options);
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeModel(folder, options) {
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
  const args = [path.join(here, 'peer_bloom.py'), 'write-model', folder, JSON.stringify(config)];
  execFileSync(python, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** `nx run cli:bench -- collectives`: all-reduce over ws, shm and MPI against PyTorch's Gloo and bare Open MPI, in turns, in one run. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { provideVenv, python } from '../venv.mjs';
import { rankEnvironments, runRanks } from './rank-job.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const mpirun = ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none'];

/** @param {string[]} args */
export async function benchCollectives(args) {
  const { values } = parseArgs({
    args,
    options: {
      devices: { type: 'string', default: '2' },
      bytes: { type: 'string', default: '100000000' },
      'small-bytes': { type: 'string', default: '1024' },
      repeats: { type: 'string', default: '10' },
      rounds: { type: 'string', default: '3' },
      sides: { type: 'string', default: 'gloo,ws,shm,mpi-bare,mpi' },
    },
  });
  const worldSize = Number(values.devices);
  const numbers = [values.bytes, values.repeats, values['small-bytes'], '10'];
  const folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-collectives-'));
  try {
    const sides = sidesOf(values.sides.split(','), folder, worldSize, numbers);
    console.log(`${cpus()[0].model}, ${worldSize} ranks; best of ${values.rounds} rounds in turns`);
    const best = new Map();
    for (let round = 0; round < Number(values.rounds); round += 1)
      for (const [name, run] of sides) {
        const { largeSeconds, smallSeconds } = await run();
        const before = best.get(name) ?? { largeSeconds: Infinity, smallSeconds: Infinity };
        best.set(name, {
          largeSeconds: Math.min(before.largeSeconds, largeSeconds),
          smallSeconds: Math.min(before.smallSeconds, smallSeconds),
        });
      }
    report(best, Number(values.bytes), worldSize);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function sidesOf(names, folder, worldSize, numbers) {
  const node = ['--conditions=@tensorloom/source', '--import', 'tsx', path.join(here, 'loom-collectives.ts')];
  const underMpi = (command, args) =>
    runRanks('mpirun', 'mpirun', [...mpirun, '-np', String(worldSize), command, ...args], [process.env]);
  const known = {
    gloo: async () => {
      provideVenv();
      const args = [path.join(here, 'peer_gloo.py'), ...numbers];
      return runRanks('Gloo', python, args, await rankEnvironments(worldSize));
    },
    ws: async () => runRanks('ws', process.execPath, [...node, 'ws', ...numbers], await rankEnvironments(worldSize)),
    shm: async () => runRanks('shm', process.execPath, [...node, 'shm', ...numbers], await rankEnvironments(worldSize)),
    'mpi-bare': () => underMpi(bareMpi(folder), numbers),
    mpi: () => underMpi(process.execPath, [...node, 'mpi', ...numbers]),
  };
  return names.flatMap((name) => {
    if (!(name in known)) throw new Error(`unknown side '${name}'; known: ${Object.keys(known).join(', ')}`);
    const needs = name.startsWith('mpi') ? 'mpirun' : undefined;
    if (needs !== undefined && spawnSync(needs, ['--version']).error !== undefined) {
      console.log(`${name} is left out: there is no ${needs} (apt-get install openmpi-bin libopenmpi-dev)`);
      return [];
    }
    return [[name, known[name]]];
  });
}

function bareMpi(folder) {
  const binary = path.join(folder, 'bare_mpi');
  execFileSync('mpicc', ['-O2', '-o', binary, path.join(here, 'bare_mpi.c')], { stdio: 'inherit' });
  return binary;
}

/** Bus bandwidth as NCCL's tests define it: bytes / time x 2 (n - 1) / n, the same for any algorithm at its best. */
function report(best, bytes, worldSize) {
  const gloo = best.get('gloo');
  const bare = best.get('mpi-bare');
  const rows = [...best].map(([name, { largeSeconds, smallSeconds }]) => ({
    side: name,
    'GB/s (bus)': ((bytes / largeSeconds / 1e9) * ((2 * (worldSize - 1)) / worldSize)).toFixed(2),
    'small, µs': (smallSeconds * 1e6).toFixed(0),
    ...(gloo && { 'bandwidth / Gloo': (gloo.largeSeconds / largeSeconds).toFixed(2) }),
    ...(gloo && { 'latency / Gloo': (smallSeconds / gloo.smallSeconds).toFixed(2) }),
    ...(bare && { 'bandwidth / bare MPI': (bare.largeSeconds / largeSeconds).toFixed(2) }),
  }));
  console.table(rows);
}

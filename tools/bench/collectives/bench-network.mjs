/**
 * `nx run cli:bench -- network`: ring all-reduce over ws among hosts that are network namespaces, joined by links of a given rate and
 * delay. Needs root and iproute2; removes the namespaces at the end.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { hostsUnavailable, makeShapedHosts } from '../../network/hosts.mjs';
import { rankEnvironments, runRanks } from './rank-job.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
/** @param {string[]} args */
export async function benchNetwork(args) {
  const { values } = parseArgs({
    args,
    options: {
      hosts: { type: 'string', default: '4' },
      megabits: { type: 'string', default: '1000' },
      'delay-ms': { type: 'string', default: '5' },
      bytes: { type: 'string', default: '50000000' },
      repeats: { type: 'string', default: '5' },
    },
  });
  const count = Number(values.hosts);
  const prefix = 'tlbench';
  const reason = hostsUnavailable();
  if (reason !== null) throw new Error(`The bench of networks cannot run: ${reason}.`);
  const megabits = Number(values.megabits);
  const { hosts, how, close } = await makeShapedHosts(count, { prefix, megabits, delayMs: Number(values['delay-ms']) });
  try {
    const script = ['--conditions=@tensorloom/source', '--import', 'tsx', path.join(here, 'loom-collectives.ts')];
    const numbers = [values.bytes, values.repeats, '1024', '2'];
    const environments = (await rankEnvironments(count)).map((env, rank) => ({
      ...env,
      MASTER_ADDR: hosts[0].address,
      MASTER_PORT: '29500',
      LOCAL_RANK: '0',
      LOCAL_WORLD_SIZE: '1',
      GROUP_RANK: String(rank),
    }));
    // Each rank runs in its own namespace.
    const jobs = environments.map((env, rank) => ({ env, host: hosts[rank].name }));
    const { largeSeconds, smallSeconds } = await runRanks(
      'ws',
      (index) => ['ip', ['netns', 'exec', jobs[index].host, process.execPath, ...script, 'ws', ...numbers]],
      [],
      environments,
    );
    const moved = Number(values.bytes) * 2 * ((count - 1) / count);
    console.table([
      {
        hosts: count,
        link: `${megabits} Mbit/s, ${values['delay-ms']} ms (${how})`,
        'all-reduce, s': largeSeconds.toFixed(3),
        'Mbit/s per host': ((moved * 8) / largeSeconds / 1e6).toFixed(0),
        'of the link': ((moved * 8) / largeSeconds / 1e6 / megabits).toFixed(3),
        'small, ms': (smallSeconds * 1e3).toFixed(2),
      },
    ]);
  } finally {
    close();
  }
}

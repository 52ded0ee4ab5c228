/**
 * `nx run cli:bench -- network`: ring all-reduce over ws among hosts that are network namespaces, joined by links of a given rate and
 * delay (`ip netns`, `tc`). Needs root and iproute2; removes the namespaces at the end.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { rankEnvironments, runRanks } from './rank-job.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
const quietly = (run) => {
  try {
    run();
  } catch {
    // what is not there need not be removed
  }
};

/** Hosts on one bridge, each sending and receiving at `rate` with half of `delayMs` each way. */
export function makeHosts(count, { rate, delayMs, prefix }) {
  const bridge = `${prefix}br`;
  ip('link', 'add', bridge, 'type', 'bridge');
  ip('link', 'set', bridge, 'up');
  return Array.from({ length: count }, (_, index) => {
    const [name, inside, outside] = [`${prefix}${index}`, `${prefix}i${index}`, `${prefix}o${index}`];
    ip('netns', 'add', name);
    ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', name);
    ip('link', 'set', outside, 'master', bridge, 'up');
    const address = `10.231.77.${index + 1}`;
    ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', inside);
    ip('-n', name, 'link', 'set', inside, 'up');
    ip('-n', name, 'link', 'set', 'lo', 'up');
    // Leaving the host: its rate and the delay. A queue that holds several times what is under way.
    const shape = ['root', 'netem', 'rate', rate, 'delay', `${delayMs}ms`, 'limit', '20000'];
    execFileSync('ip', ['netns', 'exec', name, 'tc', 'qdisc', 'add', 'dev', inside, ...shape]);
    return { name, address, outside };
  });
}

export function removeHosts(count, prefix) {
  for (let index = 0; index < count; index += 1) quietly(() => ip('netns', 'del', `${prefix}${index}`));
  quietly(() => ip('link', 'del', `${prefix}br`));
}

/** @param {string[]} args */
export async function benchNetwork(args) {
  const { values } = parseArgs({
    args,
    options: {
      hosts: { type: 'string', default: '4' },
      rate: { type: 'string', default: '1gbit' },
      'delay-ms': { type: 'string', default: '5' },
      bytes: { type: 'string', default: '50000000' },
      repeats: { type: 'string', default: '5' },
    },
  });
  const count = Number(values.hosts);
  const prefix = 'tlbench';
  removeHosts(count, prefix);
  try {
    const hosts = makeHosts(count, { rate: values.rate, delayMs: Number(values['delay-ms']), prefix });
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
    const rate = Number.parseFloat(values.rate) * (values.rate.endsWith('gbit') ? 1e9 : 1e6);
    console.table([
      {
        hosts: count,
        link: `${values.rate}, ${values['delay-ms']} ms`,
        'all-reduce, s': largeSeconds.toFixed(3),
        'Mbit/s per host': ((moved * 8) / largeSeconds / 1e6).toFixed(0),
        'of the link': ((moved * 8) / largeSeconds / rate).toFixed(3),
        'small, ms': (smallSeconds * 1e3).toFixed(2),
      },
    ]);
  } finally {
    removeHosts(count, prefix);
  }
}

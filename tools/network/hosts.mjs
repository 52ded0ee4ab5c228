/**
 * "Hosts" on one machine: network namespaces on one bridge, with links of a given rate and delay that can be cut (`ip netns`, `tc`).
 * Needs root and iproute2.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
const quietly = (run) => {
  try {
    run();
  } catch {
    // what is not there need not be removed
  }
};

/**
 * Null where namespaces can be made, else why not.
 * @throws Error where they cannot, and `TENSORLOOM_REQUIRE_NETWORK_HOSTS=1` says that they must
 */
export function hostsUnavailable() {
  const reason = whyUnavailable();
  if (reason !== null && process.env['TENSORLOOM_REQUIRE_NETWORK_HOSTS'] === '1')
    throw new Error(`TENSORLOOM_REQUIRE_NETWORK_HOSTS=1, but: ${reason}`);
  return reason;
}

function whyUnavailable() {
  if (spawnSync('tc', ['-V']).error !== undefined) return 'there is no `tc` (apt-get install iproute2)';
  const { status, error, stderr } = spawnSync('ip', ['netns', 'add', 'tlprobe'], { encoding: 'utf8' });
  if (error !== undefined) return 'there is no `ip` (apt-get install iproute2)';
  if (status !== 0) return `network namespaces cannot be made here (${stderr.trim()}); it takes root`;
  quietly(() => ip('netns', 'del', 'tlprobe'));
  return null;
}

/** Whether this kernel can delay packets by itself. */
function hasNetem() {
  const name = 'tlprobe';
  quietly(() => ip('netns', 'add', name));
  const { status } = spawnSync('ip', [
    'netns',
    'exec',
    name,
    'tc',
    'qdisc',
    'add',
    'dev',
    'lo',
    'root',
    'netem',
    'delay',
    '1ms',
  ]);
  quietly(() => ip('netns', 'del', name));
  return status === 0;
}

/**
 * Hosts whose links have a rate and a delay: by netem, or, where the kernel has none, by a program of ours (`delayed-links.c`, which
 * needs gcc and /dev/net/tun). Call `close` at the end.
 * @param {number} count
 * @param {{ prefix: string, megabits: number, delayMs: number }} options each host delays what it sends
 * @returns {Promise<{ hosts: { name: string, address: string }[], how: string, close: () => void }>}
 */
export async function makeShapedHosts(count, { prefix, megabits, delayMs }) {
  if (hasNetem()) {
    const hosts = makeHosts(count, { prefix, rate: `${megabits}mbit`, delayMs });
    return { hosts, how: 'netem', close: () => removeHosts(count, prefix) };
  }
  removeHosts(count, prefix);
  const folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-links-'));
  const binary = path.join(folder, 'delayed_links');
  execFileSync('gcc', ['-O2', '-pthread', '-o', binary, path.join(import.meta.dirname, 'delayed-links.c')]);
  const subnet = '10.231.79';
  const hosts = Array.from({ length: count }, (_, index) => ({
    name: `${prefix}${index}`,
    address: `${subnet}.${index + 1}`,
  }));
  for (const { name } of hosts) ip('netns', 'add', name);
  const queueBytes = Math.max(1_000_000, 4 * megabits * 125 * delayMs);
  const names = hosts.map(({ name }) => name);
  const numbers = [megabits * 1e6, delayMs * 1000, queueBytes].map(String);
  const links = spawn(binary, [...numbers, subnet, ...names], { stdio: ['ignore', 'pipe', 'inherit'] });
  const close = () => {
    links.kill('SIGKILL');
    removeHosts(count, prefix);
    rmSync(folder, { recursive: true, force: true });
  };
  const isReady = await new Promise((resolve) => {
    links.stdout.once('data', () => resolve(true));
    links.once('exit', () => resolve(false));
  });
  if (!isReady) {
    close();
    throw new Error('The links between hosts could not be made.');
  }
  return { hosts, how: 'delayed-links', close };
}

/**
 * Makes `count` hosts, named by `prefix`, which must be 8 letters at most. Remove them with `removeHosts`.
 * @param {number} count
 * @param {{ prefix: string, subnet?: string, rate?: string, delayMs?: number }} options rate as `tc` has it; each host delays what it sends
 * @returns {{ name: string, address: string, link: string }[]} namespace, address, and the name outside of the host's link
 */
export function makeHosts(count, { prefix, subnet = '10.231.77', rate, delayMs }) {
  removeHosts(count, prefix);
  const bridge = `${prefix}br`;
  ip('link', 'add', bridge, 'type', 'bridge');
  ip('link', 'set', bridge, 'up');
  return Array.from({ length: count }, (_, index) => {
    const [name, inside, link] = [`${prefix}${index}`, `${prefix}i${index}`, `${prefix}o${index}`];
    const address = `${subnet}.${index + 1}`;
    ip('netns', 'add', name);
    ip('link', 'add', link, 'type', 'veth', 'peer', 'name', inside, 'netns', name);
    ip('link', 'set', link, 'master', bridge, 'up');
    ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', inside);
    ip('-n', name, 'link', 'set', inside, 'up');
    ip('-n', name, 'link', 'set', 'lo', 'up');
    if (rate !== undefined || delayMs !== undefined) {
      // The queue holds several times what can be under way.
      const shape = [...(rate ? ['rate', rate] : []), ...(delayMs ? ['delay', `${delayMs}ms`] : []), 'limit', '20000'];
      ip('netns', 'exec', name, 'tc', 'qdisc', 'add', 'dev', inside, 'root', 'netem', ...shape);
    }
    return { name, address, link };
  });
}

/** Cuts a host off, or joins it again. @param {{ link: string }} host @param {boolean} cut */
export function setCut(host, cut) {
  ip('link', 'set', host.link, cut ? 'down' : 'up');
}

/** @param {number} count @param {string} prefix */
export function removeHosts(count, prefix) {
  for (let index = 0; index < count; index += 1) {
    quietly(() => ip('netns', 'del', `${prefix}${index}`));
    quietly(() => ip('link', 'del', `${prefix}o${index}`));
  }
  quietly(() => ip('link', 'del', `${prefix}br`));
}

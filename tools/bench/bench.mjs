/** `nx run cli:bench -- NAME [options]`: the benches by name. Each prints the machine, what was measured, and a table. */
const benches = {
  peers: {
    summary: 'training speed against PyTorch + transformers',
    run: async (args) => {
      process.argv.splice(2, process.argv.length, ...args);
      await import('./bench-peers.mjs');
    },
  },
  epoch: {
    summary: "an epoch of the blog's recipe, padded by PyTorch against real lengths",
    run: async (args) => (await import('./bench-epoch.mjs')).benchEpoch(args),
  },
  collectives: {
    summary: 'all-reduce over ws, shm and MPI against Gloo and bare Open MPI',
    run: async (args) => (await import('./collectives/bench-collectives.mjs')).benchCollectives(args),
  },
  network: {
    summary: 'all-reduce over ws between hosts on a shaped link (network namespaces; root)',
    run: async (args) => (await import('./collectives/bench-network.mjs')).benchNetwork(args),
  },
  strategies: {
    summary: 'tokens/s of strategies on several ranks against one process',
    run: async (args) => (await import('./strategies/bench-strategies.mjs')).benchStrategies(args),
  },
  memory: {
    summary: 'bytes per rank that each strategy holds',
    run: async (args) => (await import('./strategies/bench-memory.mjs')).benchMemory(args),
  },
};

const [name, ...args] = process.argv.slice(2);
const bench = benches[name];
if (bench === undefined) {
  const list = Object.entries(benches).map(([key, { summary }]) => `  ${key.padEnd(12)} ${summary}`);
  console.error(`usage: nx run cli:bench -- NAME [options]\n${list.join('\n')}`);
  process.exitCode = 2;
} else await bench.run(args);

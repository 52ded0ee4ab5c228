/** The findings of `tensorloom doctor` as text. */
import type { Findings } from './examine.ts';

export function formatFindings(findings: Findings): string {
  const { machine, node, cache } = findings;
  const sections: [string, string[]][] = [
    [
      'Machine',
      [
        `Tensorloom ${findings.tensorloom}, Node.js ${node.version}${node.supported ? '' : ' (too old)'}, ${machine.platform}`,
        `${machine.cpu}, ${count(machine.cores, 'core')}; vector instructions: ${machine.simd?.join(' ') ?? 'unknown'}; WebAssembly SIMD: ${machine.wasmSimd ? 'yes' : 'no'}`,
        `memory: ${bytes(machine.memoryBytes)}, ${bytes(machine.freeMemoryBytes)} free` +
          (machine.memoryLimitBytes === undefined
            ? ''
            : `, this process is limited to ${bytes(machine.memoryLimitBytes)}`) +
          `; JavaScript heap up to ${bytes(machine.heapLimitBytes)}`,
      ],
    ],
    [
      'Accelerators (in the order of auto)',
      findings.accelerators.flatMap((each) =>
        each.available
          ? [
              `${mark(true)} ${each.name}${each.preferred ? ' (auto)' : ''}: ${each.description ?? ''}; ${count(each.devices, 'device')}`,
            ]
          : [`${mark(false)} ${each.name}: ${each.reason ?? ''}`, `    costs: ${each.cost ?? ''}`],
      ),
    ],
    [
      'Precisions',
      findings.precisions.map(
        (each) =>
          `${mark(each.accelerators.length > 0)} ${each.name}: ${each.accelerators.join(', ') || 'no accelerator here has it'}`,
      ),
    ],
    ['Strategies', findings.strategies.map((each) => `${each.name}: ${each.summary}`)],
    [
      'Process groups (how ranks talk)',
      findings.processGroups.map((each) => `${mark(each.available)} ${each.name}: ${each.reason ?? each.summary}`),
    ],
    ['Cluster environment', [findings.environment.description, `recognised: ${findings.environment.known.join(', ')}`]],
    [
      'Cache',
      [
        `${mark(cache.writable)} ${cache.path}: ${cache.exists ? `${count(cache.files, 'file')}, ${bytes(cache.bytes)}` : 'not made yet'}${cache.writable ? '' : ', cannot be written'}`,
      ],
    ],
    [
      'Packages',
      findings.packages.map(
        (each) =>
          `${mark(each.version !== undefined)} ${each.name} ${each.version ?? `not installed${each.optional ? ' (optional)' : ''}`}`,
      ),
    ],
  ];
  const text = sections.map(([title, lines]) => [title, ...lines.map((line) => `  ${line}`)].join('\n')).join('\n\n');
  const verdict = findings.canTrain
    ? 'Training is possible here.'
    : ['Training is not possible here:', ...findings.problems.map((each) => `  ${each}`)].join('\n');
  return `${text}\n\n${verdict}`;
}

function mark(good: boolean): string {
  return good ? '[x]' : '[ ]';
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

/** In the unit that keeps it short: 1.5 GiB. */
export function bytes(n: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, n < 1 ? 0 : Math.floor(Math.log(n) / Math.log(1024)));
  return `${power === 0 ? n : (n / 1024 ** power).toFixed(1)} ${units[power] ?? ''}`;
}

/** Slurm's compressed lists: host names with brackets, and tasks per node. */

/**
 * The host names in `login1,node[01-03,7]-ib`, in order.
 * @returns null for what is no such list, or stands for more than 100,000 hosts
 */
export function parseNodeList(text: string): string[] | null {
  const hosts: string[] = [];
  for (const item of splitOutsideBrackets(text.trim())) {
    const expanded = expand(item);
    if (expanded === null || hosts.length + expanded.length > MAX_HOSTS) return null;
    hosts.push(...expanded);
  }
  return hosts.length === 0 ? null : hosts;
}

/** Tasks of each node in `4(x2),3`: [4, 4, 3]; null for what is no such list. */
export function parseTasksPerNode(text: string): number[] | null {
  const counts: number[] = [];
  for (const item of text.trim().split(',')) {
    const match = /^(\d{1,6})(?:\(x(\d{1,6})\))?$/.exec(item.trim());
    if (match === null) return null;
    const repeats = Number(match[2] ?? 1);
    if (counts.length + repeats > MAX_HOSTS) return null;
    counts.push(...new Array<number>(repeats).fill(Number(match[1])));
  }
  return counts;
}

const MAX_HOSTS = 100_000;

function splitOutsideBrackets(text: string): string[] {
  return text.split(/,(?![^[]*\])/);
}

/** One item, with any number of brackets: `rack[1-2]n[01-16]`. */
function expand(item: string): string[] | null {
  const match = /^([^[\]]*)\[([^[\]]+)\](.*)$/.exec(item);
  if (match === null) return /^[^[\],\s]+$/.test(item) ? [item] : null;
  const [, before, inside, after] = match as unknown as [string, string, string, string];
  const rest = after === '' ? [''] : expand(after);
  const numbers = inside.split(',').map(expandRange);
  if (rest === null || numbers.includes(null)) return null;
  if (numbers.reduce((sum, range) => sum + (range as string[]).length, 0) * rest.length > MAX_HOSTS) return null;
  return (numbers as string[][]).flat().flatMap((number) => rest.map((tail) => before + number + tail));
}

/** `01-03` or `7`; leading zeros stay. */
function expandRange(range: string): string[] | null {
  const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range.trim());
  if (match === null) return null;
  const from = match[1] as string;
  const count = Number(match[2] ?? from) - Number(from) + 1;
  if (count < 1 || count > MAX_HOSTS) return null;
  return Array.from({ length: count }, (_, i) => String(Number(from) + i).padStart(from.length, '0'));
}

/** Drawing train, validation and test parts from one list of labelled texts. */
import { range, seededGenerator, shuffle } from '../random/seeded.ts';
import type { TextSplit } from './text-splits.ts';

export interface LabelledText {
  readonly text: string;
  /** Class index, or target of a regression. */
  readonly label: number;
}

type Task = 'classification' | 'regression';

export interface Parts {
  readonly train: TextSplit;
  readonly validation: TextSplit;
  readonly test: TextSplit;
}

/** Keeps the first of texts that are equal up to white space at the ends. */
export function withoutDuplicates<T extends LabelledText>(examples: readonly T[]): T[] {
  const seen = new Set<string>();
  return examples.filter(({ text }) => {
    const key = text.trim();
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/**
 * Cuts a shuffled list into three parts of the given fractions, each label in its own proportion (for a regression: all together).
 * @param fractions of train, validation, test; the first part takes what rounding leaves
 */
export function partitionStratified(
  examples: readonly LabelledText[],
  fractions: readonly [number, number, number],
  seed: number,
  task: Task = 'classification',
): Parts {
  const order = shuffle(range(examples.length), seededGenerator(seed));
  const byLabel = new Map<number, LabelledText[]>();
  for (const index of order) {
    const example = examples[index] as LabelledText;
    const stratum = task === 'regression' ? 0 : example.label;
    const group = byLabel.get(stratum);
    if (group === undefined) byLabel.set(stratum, [example]);
    else group.push(example);
  }
  const parts: [LabelledText[], LabelledText[], LabelledText[]] = [[], [], []];
  for (const label of [...byLabel.keys()].sort((a, b) => a - b)) {
    const group = byLabel.get(label) as LabelledText[];
    const validation = Math.round(group.length * fractions[1]);
    const test = Math.round(group.length * fractions[2]);
    parts[1].push(...group.slice(0, validation));
    parts[2].push(...group.slice(validation, validation + test));
    parts[0].push(...group.slice(validation + test));
  }
  // Grouped by label until here: each part gets an order of its own.
  const [train, validation, test] = parts.map((part, i) =>
    toSplit(shuffle(part, seededGenerator(seed, i + 1)), task),
  ) as [TextSplit, TextSplit, TextSplit];
  return { train, validation, test };
}

export function toSplit(examples: readonly LabelledText[], task: Task = 'classification'): TextSplit {
  const labels = examples.map(({ label }) => label);
  return {
    texts: examples.map(({ text }) => text),
    labels: task === 'regression' ? Float32Array.from(labels) : Int32Array.from(labels),
  };
}

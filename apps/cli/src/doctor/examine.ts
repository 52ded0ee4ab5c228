/** All that `tensorloom doctor` finds out, and whether it is enough to train. */
import { precisions, strategies } from '@tensorloom/core';
import '@tensorloom/native';
import '@tensorloom/strategies';
import { examineAccelerators, type AcceleratorFinding } from './accelerators.ts';
import { examineMachine, type Machine } from './machine.ts';
import { examinePackages, ownVersion, type PackageFinding } from './packages.ts';
import {
  examineEnvironment,
  examineProcessGroups,
  type EnvironmentFinding,
  type ProcessGroupFinding,
} from './ranks.ts';
import { examineCache, type CacheFinding } from './storage.ts';

export interface Findings {
  readonly tensorloom: string;
  readonly node: { readonly version: string; readonly supported: boolean };
  readonly machine: Machine;
  readonly accelerators: readonly AcceleratorFinding[];
  /** Every precision, with the accelerators here that have it. */
  readonly precisions: readonly { readonly name: string; readonly accelerators: readonly string[] }[];
  readonly strategies: readonly { readonly name: string; readonly summary: string }[];
  readonly processGroups: readonly ProcessGroupFinding[];
  readonly environment: EnvironmentFinding;
  readonly cache: CacheFinding;
  readonly packages: readonly PackageFinding[];
  /** What stands in the way of training, each with what to do. */
  readonly problems: readonly string[];
  readonly canTrain: boolean;
}

/** Lowest Node.js that is supported, as in package.json's `engines`. */
const NEEDS_NODE = [20, 11] as const;

export async function examine(): Promise<Findings> {
  const accelerators = await examineAccelerators();
  const cache = examineCache();
  const packages = examinePackages();
  const node = { version: process.version, supported: isSupported(process.versions.node) };
  const problems = [
    ...(node.supported ? [] : [`Node.js ${process.version} is too old: install ${NEEDS_NODE.join('.')} or later.`]),
    ...(accelerators.some((each) => each.available) ? [] : ['No accelerator can be used: see the reasons above.']),
    ...packages
      .filter((each) => each.version === undefined && !each.optional)
      .map((each) => `The package ${each.name} is missing: run npm ci.`),
    ...(cache.writable
      ? []
      : [
          `The cache folder ${cache.path} cannot be written: choose another one with TENSORLOOM_CACHE, or change its permissions.`,
        ]),
  ];
  return {
    tensorloom: ownVersion(),
    node,
    machine: examineMachine(),
    accelerators,
    precisions: precisions.names().map((name) => ({
      name,
      accelerators: accelerators.filter((each) => each.precisions.includes(name)).map((each) => each.name),
    })),
    strategies: strategies.names().map((name) => ({ name, summary: strategies.get(name).summary })),
    processGroups: await examineProcessGroups(),
    environment: examineEnvironment(process.env),
    cache,
    packages,
    problems,
    canTrain: problems.length === 0,
  };
}

/** @param version such as `20.11.0` */
export function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > NEEDS_NODE[0] || (major === NEEDS_NODE[0] && minor >= NEEDS_NODE[1]);
}

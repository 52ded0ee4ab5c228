/** Process groups by name. The package `strategies` has the implementations. */
import { Registry } from '../registry.ts';
import type { ClusterEnvironment } from './cluster-environment.ts';
import type { ProcessGroup } from './process-group.ts';

/** What a process group is made from. */
export interface ProcessGroupRequest {
  readonly environment: ClusterEnvironment;
  /** How long a collective waits for ranks that do not come (default 10 minutes). */
  readonly collectiveTimeoutMs?: number;
  /** How long a rank may give no sign of life, and how long ranks wait for each other at the start (default 30 seconds). */
  readonly rankTimeoutMs?: number;
  /** Of the implementation; each validates its own and refuses unknown ones. */
  readonly options: Readonly<Record<string, unknown>>;
}

export interface ProcessGroupEntry {
  readonly summary: string;
  /** `null` where it can be used, else what is missing and how to get it. */
  unavailable(): Promise<string | null>;
  /** Meets the other ranks. @throws TensorloomError `RANK_LOST`, `TIMEOUT`, `UNSUPPORTED`, `BAD_OPTION` */
  create(request: ProcessGroupRequest): Promise<ProcessGroup>;
}

/** Process groups by name; register your own here. */
export const processGroups = new Registry<ProcessGroupEntry>('process group');

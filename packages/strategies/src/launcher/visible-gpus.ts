/** Which NVIDIA GPUs the ranks of this machine can be given. */
import { spawnSync } from 'node:child_process';
import type { Variables } from '../environments/variables.ts';

/**
 * What may stand in CUDA_VISIBLE_DEVICES: the entries of that variable where it is set, else the indices of all GPUs.
 * @param list what `nvidia-smi -L` prints, or null where there is no such program
 */
export function visibleGpus(variables: Variables, list: () => string | null = nvidiaSmi): string[] {
  const given = variables['CUDA_VISIBLE_DEVICES'];
  if (given === undefined) return [...(list() ?? '').matchAll(/^GPU (\d+):/gm)].map((match) => match[1] as string);
  const entries = given.split(',').map((entry) => entry.trim());
  // CUDA sees the devices before the first that is not valid.
  const end = entries.findIndex((entry) => entry === '' || entry.startsWith('-'));
  return end < 0 ? entries : entries.slice(0, end);
}

/**
 * One GPU for each rank, by local rank; undefined leaves the variable as it is, where there are fewer than two. With more
 * ranks than GPUs they take turns.
 */
export function gpuOfRank(gpus: readonly string[], localRank: number): string | undefined {
  return gpus.length < 2 ? undefined : gpus[localRank % gpus.length];
}

function nvidiaSmi(): string | null {
  const result = spawnSync('nvidia-smi', ['-L'], {
    encoding: 'utf8',
    timeout: 20_000,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return result.status === 0 ? result.stdout : null;
}

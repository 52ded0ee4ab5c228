/** Which of a machine's devices a rank computes on. */
import type { Accelerator } from '../accelerators/accelerator.ts';
import { TensorloomError } from '../errors.ts';
import { strategies, type Strategy } from '../strategies/strategy.ts';
import type { ResolvedOptions } from './options.ts';

/**
 * Each rank of a machine has a device of its own where there are several. The ranks of a machine share an accelerator that sees
 * one: the CPU, or the GPU that a launcher lets this rank see.
 * @throws TensorloomError `UNSUPPORTED` for an index that is listed but not there, or fewer devices than ranks
 */
export function chooseDevice(accelerator: Accelerator, devices: ResolvedOptions['devices'], localRank: number): number {
  const count = accelerator.deviceCount();
  const listed = typeof devices === 'object' ? devices[localRank] : undefined;
  const index = listed ?? (count === 1 ? 0 : localRank);
  if (index < count) return index;
  // A launcher may let each rank see its own device only, which then is the first.
  const visible = process.env['CUDA_VISIBLE_DEVICES'];
  if (count === 1 && typeof devices === 'object' && devices.length > 1 && /^[^,]+$/.test(visible ?? '')) return 0;
  throw new TensorloomError(
    'UNSUPPORTED',
    typeof devices === 'object'
      ? `Fabric: device ${index} is asked for (devices: [${devices.join(', ')}]), but accelerator '${accelerator.name}' sees ${count} (from 0).`
      : `Fabric: rank ${localRank} of this machine has no device of its own: accelerator '${accelerator.name}' sees ${count}.`,
  );
}

/** Whether a strategy that the user asked for can run on several devices; `auto` can. */
export function isForSeveral(strategy: string | Strategy): boolean {
  const name = typeof strategy === 'object' ? strategy.name : strategy;
  return !strategies.has(name) || strategies.get(name).reach === 'multi';
}

/** Every registered accelerator: whether it can be used here, why not, and which precisions it has. */
import { accelerators, acceleratorsByPriority, precisions, type Accelerator } from '@tensorloom/core';

export interface AcceleratorFinding {
  readonly name: string;
  readonly available: boolean;
  /** Why it cannot be used and what would help; null where it can. */
  readonly reason: string | null;
  readonly devices: number;
  /** Devices, libraries and threads, as it describes itself; null where it cannot be used. */
  readonly description: string | null;
  readonly precisions: readonly string[];
  /** `auto` takes this one. */
  readonly preferred: boolean;
  /** What goes without it. */
  readonly cost: string | null;
}

/** In the order in which `auto` looks at them. */
export async function examineAccelerators(): Promise<AcceleratorFinding[]> {
  const found: Omit<AcceleratorFinding, 'preferred' | 'cost'>[] = [];
  for (const name of acceleratorsByPriority()) found.push(await examineOne(name, accelerators.get(name).create()));
  const preferred = found.find((each) => each.available)?.name;
  return found.map((each, index) => ({
    ...each,
    preferred: each.name === preferred,
    cost: costOf(found, index, preferred),
  }));
}

async function examineOne(
  name: string,
  accelerator: Accelerator,
): Promise<Omit<AcceleratorFinding, 'preferred' | 'cost'>> {
  const unusable = (reason: string) => ({
    name,
    available: false,
    reason,
    devices: 0,
    description: null,
    precisions: [],
  });
  const reason = await accelerator.unavailable();
  if (reason !== null) return unusable(reason);
  try {
    await accelerator.activate({ deviceIndex: 0 });
    return {
      name,
      available: true,
      reason: null,
      devices: accelerator.deviceCount(),
      description: accelerator.describe(),
      precisions: precisionsOf(accelerator),
    };
  } catch (error) {
    return unusable(`It is installed but does not start: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Precisions whose storages the accelerator has all of. */
function precisionsOf(accelerator: Accelerator): string[] {
  return precisions.names().filter((name) => {
    const precision = precisions.get(name)();
    return [precision.parameterStorage, precision.activationStorage].every((storage) =>
      accelerator.storages.includes(storage),
    );
  });
}

/** An accelerator that is missing costs something only if `auto` would have taken it. */
function costOf(
  found: readonly { name: string; available: boolean }[],
  index: number,
  preferred: string | undefined,
): string | null {
  if (found[index]?.available === true) return null;
  if (preferred === undefined) return 'nothing can be trained on this machine until one accelerator works';
  const chosen = found.findIndex((each) => each.name === preferred);
  return index < chosen
    ? `training runs on ${preferred} instead, which is slower`
    : `nothing: ${preferred} is preferred anyway`;
}

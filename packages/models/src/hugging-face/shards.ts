/** Cutting a state dict into files of bounded size, as huggingface_hub does (split_state_dict_into_shards_factory). */

export interface Shard {
  readonly fileName: string;
  readonly names: readonly string[];
}

export interface ShardPlan {
  readonly shards: readonly Shard[];
  /** Bytes of all tensors. */
  readonly totalBytes: number;
}

/**
 * Fills shards in the order given; a tensor larger than `maxShardBytes` gets a shard of its own. One shard is `model.safetensors`,
 * several are `model-00001-of-00003.safetensors` and so on.
 */
export function planShards(sizes: ReadonlyMap<string, number>, maxShardBytes: number): ShardPlan {
  const shards: string[][] = [];
  let current: string[] = [];
  let currentBytes = 0;
  let totalBytes = 0;
  for (const [name, bytes] of sizes) {
    totalBytes += bytes;
    if (bytes > maxShardBytes) {
      shards.push([name]);
      continue;
    }
    if (currentBytes + bytes > maxShardBytes) {
      shards.push(current);
      current = [];
      currentBytes = 0;
    }
    current.push(name);
    currentBytes += bytes;
  }
  if (current.length > 0) shards.push(current);
  const digits = (n: number): string => String(n).padStart(5, '0');
  return {
    totalBytes,
    shards: shards.map((names, index) => ({
      names,
      fileName:
        shards.length === 1
          ? 'model.safetensors'
          : `model-${digits(index + 1)}-of-${digits(shards.length)}.safetensors`,
    })),
  };
}

/** The safetensors file format (https://huggingface.co/docs/safetensors): reading with full validation, atomic writing. */
import type { StoredTensor } from '../stateful.ts';
import type { Tensor } from '../tensors.ts';

export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, StoredTensor & { readonly dtype: string }>;
  readonly metadata: Readonly<Record<string, string>>;
  close(): void;
}

/**
 * Opens a file; headers are validated in full (size bounds, offsets in range, no overlap, no gap, shapes fit), tensors are read on demand.
 * F32, I32, F16, BF16, F64, I64 (range-checked), U8, BOOL convert to float32 / int32.
 * @throws TensorloomError `BAD_FILE`
 */
export declare function openSafetensors(path: string): SafetensorsFile;
/** Writes tensors one at a time to a temporary file, fsyncs and renames it. Names are sorted as the reference implementation does. */
export declare function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void>;

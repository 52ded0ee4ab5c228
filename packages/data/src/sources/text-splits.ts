/** Labelled texts before tokenization, and the registry of the data sets that give them. */
import { Registry } from '@tensorloom/core';

/** Texts and their labels, by index. */
export interface TextSplit {
  readonly texts: readonly string[];
  /** Class indices (Int32Array), or targets of a regression (Float32Array). */
  readonly labels: Int32Array | Float32Array;
}

/** A data set as it was read. */
export interface TextSplits {
  readonly name: string;
  /** Label names by class index; empty for regression. */
  readonly labelNames: readonly string[];
  readonly task: 'classification' | 'regression';
  readonly train: TextSplit;
  readonly validation: TextSplit;
  readonly test: TextSplit;
}

/** A data set that has been found, but not yet read. */
export interface TextSource {
  readonly name: string;
  /** Changes when the data or their partition change; part of every cache key. Made without reading large files: path, size, time of change. */
  readonly fingerprint: string;
  /** Reads everything. @throws TensorloomError `BAD_DATA`, `BAD_FILE` */
  read(): Promise<TextSplits>;
}

/** Options of `openTextSource`; each data set takes those that concern it. */
export interface TextSourceOptions {
  /** The user's own file or folder, where the data set takes one. */
  readonly dataPath?: string;
  /** The partition, where the data set has several (imdb: `blog` or `standard`). */
  readonly split?: string;
  /** Seed of partitions that are drawn (default 0; the blog's has its own). */
  readonly seed?: number;
  /** Default: `defaultCacheDir()`. */
  readonly cacheDir?: string;
  /** jsonl and csv: the field with the text (default `text`). */
  readonly textField?: string;
  /** jsonl and csv: the field with the label (default `label`). */
  readonly labelField?: string;
  /** jsonl and csv: labels are names of classes (default) or real numbers. */
  readonly task?: 'classification' | 'regression';
  /** jsonl and csv: one path for each split instead of `dataPath`. */
  readonly splitPaths?: { readonly train: string; readonly validation?: string; readonly test?: string };
  /** imdb: where to download from (default: Stanford's server), and what the file must be. */
  readonly download?: { readonly url: string; readonly bytes?: number; readonly md5?: string };
  /** Called during a download. */
  readonly onDownloadProgress?: (bytesDone: number, bytesTotal: number) => void;
  /** Told what the user should know (a cache that was rebuilt, entries that were ignored). */
  readonly notify?: (message: string) => void;
}

/** Finds a data set. */
export type TextSourceOpener = (options: TextSourceOptions) => Promise<TextSource>;

const openers = new Registry<TextSourceOpener>('data set');

/** Adds a data set under `name`. @throws TensorloomError `BAD_OPTION` if the name is taken */
export function registerTextSource(
  name: string,
  opener: TextSourceOpener,
  options: { readonly replace?: boolean } = {},
): void {
  openers.register(name, opener, options);
}

/** Names of all data sets that are registered. */
export function textSourceNames(): string[] {
  return openers.names();
}

/**
 * Finds a data set by name (downloading it if it must be); `read` then reads it, once however often it is called.
 * @throws UnknownNameError, and what the data set throws
 */
export async function openTextSource(name: string, options: TextSourceOptions = {}): Promise<TextSource> {
  const source = await openers.get(name)(options);
  let splits: Promise<TextSplits> | undefined;
  return { name: source.name, fingerprint: source.fingerprint, read: () => (splits ??= source.read()) };
}

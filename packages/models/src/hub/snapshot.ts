/** Models of the Hugging Face hub in its standard cache: what is there is used, what is missing is downloaded. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getHFHubCachePath, HubApiError, listFiles, modelInfo, type ListFileEntry } from '@huggingface/hub';
import { TensorloomError, writeFileAtomically } from '@tensorloom/core';
import {
  configFile,
  indexFile,
  parseWeightsIndex,
  readJson,
  tokenizerFiles,
  weightsFile,
} from '../hugging-face/model-files.ts';
import { downloadToCache, type DownloadProgress } from './download.ts';

/** Which revision, from where, and into which cache. */
export interface HubOptions {
  /** Branch, tag or commit. Default `main`. */
  readonly revision?: string;
  /** Default `$HF_HUB_CACHE`, `$HF_HOME/hub` or ~/.cache/huggingface/hub. */
  readonly cacheFolder?: string;
  /** Default `$HF_ENDPOINT` or https://huggingface.co. */
  readonly hubUrl?: string;
  /** Only look into the cache. Default: whether `$HF_HUB_OFFLINE` is set. */
  readonly offline?: boolean;
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** For tests and proxies. */
  readonly fetch?: typeof fetch;
}

/** A revision in the cache. */
export interface Snapshot {
  readonly folder: string;
  readonly commit: string;
}

/** Time to wait for the hub's answers about a model; the files themselves may take as long as they do. */
const metadataTimeoutMs = 15_000;

/**
 * The folder of a hub model's snapshot with config, weights and tokenizer.
 * @throws TensorloomError `OFFLINE` if it is not in the cache and the hub cannot be reached, `BAD_OPTION` if the hub has no such model,
 *   `IO` if the cache cannot be written, `UNSUPPORTED` if it has no safetensors weights
 */
export async function hubSnapshot(id: string, options: HubOptions = {}): Promise<Snapshot> {
  const cacheFolder = options.cacheFolder ?? getHFHubCachePath();
  const repositoryFolder = join(cacheFolder, `models--${id.replace('/', '--')}`);
  const revision = options.revision ?? 'main';
  // It becomes part of paths in the cache.
  if (revision.split('/').some((part) => ['', '.', '..'].includes(part)))
    throw new TensorloomError('BAD_OPTION', `'${revision}' is no revision: give a branch, a tag or a commit.`);
  const offline = options.offline ?? /^(1|true|yes|on)$/i.test(process.env['HF_HUB_OFFLINE'] ?? '');
  const cached = cachedSnapshot(repositoryFolder, revision);
  if (offline) {
    if (cached !== undefined) return cached;
    throw offlineError(id, cacheFolder, 'HF_HUB_OFFLINE is set');
  }
  // A full commit hash never changes: no need to ask.
  if (cached !== undefined && cached.commit === revision) return cached;
  try {
    return await download(id, repositoryFolder, revision, options);
  } catch (error) {
    if (!isNetworkError(error)) throw translate(error, id, revision, cacheFolder);
    if (cached !== undefined) return cached;
    throw offlineError(id, cacheFolder, reason(error), error);
  }
}

async function download(
  id: string,
  repositoryFolder: string,
  revision: string,
  options: HubOptions,
): Promise<Snapshot> {
  const access = {
    hubUrl: options.hubUrl ?? process.env['HF_ENDPOINT'] ?? 'https://huggingface.co',
    ...(process.env['HF_TOKEN'] ? { accessToken: process.env['HF_TOKEN'] } : {}),
  };
  const ask: typeof fetch = (input, init) =>
    (options.fetch ?? fetch)(input, { ...init, signal: AbortSignal.timeout(metadataTimeoutMs) });
  const { sha: commit } = await modelInfo({ ...access, name: id, revision, additionalFields: ['sha'], fetch: ask });
  if (!/^[0-9a-f]{40}$/.test(commit))
    throw new TensorloomError('BAD_FILE', `The hub named '${commit}' as the commit of ${id}; expected 40 hex digits.`);
  const entries = new Map<string, ListFileEntry>();
  for await (const entry of listFiles({ ...access, repo: id, revision: commit, fetch: ask }))
    if (entry.type === 'file') entries.set(entry.path, entry);

  const folder = join(repositoryFolder, 'snapshots', commit);
  const get = async (names: readonly string[]): Promise<void> => {
    const wanted = names.map((name) => {
      const entry = entries.get(name);
      if (entry === undefined) throw new TensorloomError('BAD_FILE', `${id} on the hub has no file ${name}.`);
      return entry;
    });
    for (const entry of wanted)
      await downloadToCache(
        { ...access, repositoryFolder, id, commit, entry },
        options.onProgress,
        options.fetch ?? fetch,
      );
  };
  if (!entries.has(weightsFile) && !entries.has(indexFile))
    throw new TensorloomError(
      'UNSUPPORTED',
      `${id} on the hub has no safetensors weights (${weightsFile} or ${indexFile}).`,
    );
  await get([configFile, ...tokenizerFiles.filter((name) => entries.has(name))]);
  if (entries.has(weightsFile)) await get([weightsFile]);
  else {
    await get([indexFile]);
    await get(shardNames(join(folder, indexFile)));
  }
  if (revision !== commit) {
    const reference = join(repositoryFolder, 'refs', revision);
    await writeFileAtomically(reference, commit);
  }
  return { folder, commit };
}

/** A snapshot of that revision with config and all weights, or nothing. */
function cachedSnapshot(repositoryFolder: string, revision: string): Snapshot | undefined {
  const reference = join(repositoryFolder, 'refs', revision);
  const commit = existsSync(reference) ? readFileSync(reference, 'utf8').trim() : revision;
  const folder = join(repositoryFolder, 'snapshots', commit);
  const has = (name: string): boolean => existsSync(join(folder, name));
  if (!has(configFile)) return undefined;
  if (has(weightsFile)) return { folder, commit };
  if (has(indexFile) && shardNames(join(folder, indexFile)).every(has)) return { folder, commit };
  return undefined;
}

function shardNames(index: string): string[] {
  return [...new Set(Object.values(parseWeightsIndex(readJson(index), index).weight_map))].sort();
}

function isNetworkError(error: unknown): boolean {
  return (
    (error instanceof TypeError && !(error.cause === undefined && /token/.test(error.message))) ||
    (error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')) ||
    (error instanceof HubApiError && error.statusCode >= 500)
  );
}

function reason(error: unknown): string {
  const { message, cause } = error as Error & { cause?: Error & { code?: string } };
  return cause === undefined ? message : `${message}: ${cause.code ?? cause.message}`;
}

function offlineError(id: string, cacheFolder: string, why: string, cause?: unknown): TensorloomError {
  return new TensorloomError(
    'OFFLINE',
    `${id} is not in the cache ${cacheFolder}, and the hub cannot be asked (${why}). ` +
      `Connect to the network (a download that was cut goes on where it stopped), or download the model elsewhere and give its folder (with ${configFile} and ${weightsFile}) as the model.`,
    { cause },
  );
}

function translate(error: unknown, id: string, revision: string, cacheFolder: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (!(error instanceof TensorloomError) && /^E(ACCES|PERM|ROFS|NOSPC|DQUOT|NOTDIR)$/.test(code ?? ''))
    return new TensorloomError('IO', `Cannot write ${id} to the cache ${cacheFolder}: ${(error as Error).message}`, {
      cause: error,
    });
  if (!(error instanceof HubApiError)) return error;
  const what =
    error.statusCode === 404
      ? `The hub has no model '${id}' at revision '${revision}' (and there is no such folder).`
      : error.statusCode === 401 || error.statusCode === 403
        ? `The hub does not give out '${id}': it does not exist, is private or must be agreed to; set HF_TOKEN to a token that may read it.`
        : `The hub answered with status ${error.statusCode} for '${id}': ${error.message}`;
  return new TensorloomError('BAD_OPTION', what, { cause: error });
}

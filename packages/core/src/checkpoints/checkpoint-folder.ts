/** A checkpoint as a folder: `state.json` and one safetensors file per stateful piece, written atomically, checked before use. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import * as z from 'zod';
import { TensorloomError } from '../errors.ts';
import type { HostTensor } from '../host-tensor.ts';
import type { Json, JsonObject, StoredState, StoredTensor } from '../stateful.ts';
import { recoverFolder, removeFolder, writeFolderAtomically, writeSynced } from './atomic-write.ts';
import type { CheckpointContent, CheckpointIO, OpenedCheckpoint } from './checkpoint-io.ts';
import { decodeJsonObject, encodeJson } from './json-values.ts';
import { openSafetensors, streamSafetensors } from './safetensors.ts';

const stateFile = 'state.json';
const formatVersion = 1;
/** What a file in a checkpoint may be called: nothing that leads out of the folder. */
const plainName = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

const fileRecord = z.object({ bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });
const stateSchema = z.object({
  format: z.literal('tensorloom-checkpoint'),
  formatVersion: z.int(),
  /** Of everything else in this file. */
  sha256: z.string(),
  files: z.record(z.string(), fileRecord),
  statefuls: z.record(z.string(), z.object({ file: z.string().nullable(), values: z.record(z.string(), z.json()) })),
  values: z.record(z.string(), z.json()),
});
type StateJson = z.infer<typeof stateSchema>;

/** The default `CheckpointIO`: each checkpoint is a folder. */
export class CheckpointFolderIO implements CheckpointIO {
  /**
   * @throws TensorloomError `IO` if it cannot be written (a checkpoint that was there before stays whole), `MISUSE` for
   *   values that JSON cannot hold
   */
  async saveCheckpoint(folder: string, content: CheckpointContent): Promise<void> {
    const values = encodeJson(content.values, 'state') as JsonObject;
    const encoded = Object.entries(content.statefuls).map(
      ([key, state]) => [key, state.tensors, encodeJson(state.values, key) as JsonObject] as const,
    );
    await writeFolderAtomically(folder, async (temporary) => {
      const files: StateJson['files'] = {};
      const statefuls: StateJson['statefuls'] = {};
      for (const [key, tensors, own] of encoded) {
        const file = Object.keys(tensors).length > 0 ? `${fileName(key)}.safetensors` : null;
        if (file !== null)
          files[file] = await writeSynced(join(temporary, file), (sink) => streamSafetensors(sink, tensors));
        statefuls[key] = { file, values: own };
      }
      const body = { format: 'tensorloom-checkpoint' as const, formatVersion, files, statefuls, values };
      await writeSynced(join(temporary, stateFile), `${JSON.stringify({ ...body, sha256: digest(body) }, null, 1)}\n`);
    });
  }

  /**
   * Checks sizes and checksums of every file before anything is handed out.
   * @throws TensorloomError `BAD_CHECKPOINT` if it is missing, incomplete, corrupted or of a later format
   */
  async openCheckpoint(folder: string): Promise<OpenedCheckpoint> {
    await recoverFolder(folder);
    const state = await readState(folder);
    await Promise.all(Object.entries(state.files).map(([file, record]) => checkFile(join(folder, file), record)));
    const statefuls = Object.entries(state.statefuls).map(([key, { file, values }]): [string, StoredState] => {
      const tensors = file === null ? new Map<string, StoredTensor>() : lazyTensors(join(folder, file));
      return [key, { tensors, values: decodeJsonObject(values) }];
    });
    return { statefuls: new Map(statefuls), values: decodeJsonObject(state.values) };
  }

  async removeCheckpoint(folder: string): Promise<void> {
    if (existsSync(folder)) await removeFolder(folder);
  }
}

/** Whether `folder` holds a whole checkpoint; `thorough` reads every byte, else sizes are compared. */
export async function isCompleteCheckpoint(folder: string, thorough = false): Promise<boolean> {
  try {
    const { files } = await readState(folder);
    for (const [file, record] of Object.entries(files)) {
      if (thorough) await checkFile(join(folder, file), record);
      else if ((await stat(join(folder, file))).size !== record.bytes) return false;
    }
    return true;
  } catch {
    return false;
  }
}

async function readState(folder: string): Promise<StateJson> {
  const path = join(resolve(folder), stateFile);
  const bad = (what: string, cause?: unknown) =>
    new TensorloomError('BAD_CHECKPOINT', `${folder} is not a complete checkpoint: ${what}.`, { cause });
  if (!existsSync(folder)) throw bad('there is no such folder');
  if (!existsSync(path)) throw bad(`it has no ${stateFile}`);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw bad(`${stateFile} is not JSON`, error);
  }
  const version = (json as { formatVersion?: unknown } | null)?.formatVersion;
  if (typeof version === 'number' && version > formatVersion)
    throw bad(`it is of format version ${version}, this release reads up to ${formatVersion}; use a newer release`);
  const parsed = stateSchema.safeParse(json);
  if (!parsed.success)
    throw bad(
      `${stateFile} has an unexpected form (${parsed.error.issues.map((issue) => issue.path.join('.') || issue.message).join(', ')})`,
    );
  const { sha256, ...body } = parsed.data;
  for (const file of Object.keys(body.files))
    if (!plainName.test(file)) throw bad(`it names the file ${JSON.stringify(file)}, which may lie outside of it`);
  for (const { file } of Object.values(body.statefuls))
    if (file !== null && !Object.hasOwn(body.files, file)) throw bad(`${stateFile} does not list ${file} as a file`);
  if (sha256 !== digest(body)) throw bad(`${stateFile} does not match its checksum: it was changed or damaged`);
  return parsed.data;
}

async function checkFile(path: string, record: z.infer<typeof fileRecord>): Promise<void> {
  const bad = (what: string) =>
    new TensorloomError('BAD_CHECKPOINT', `The checkpoint is damaged: ${path} ${what}. Use another checkpoint.`);
  if (!existsSync(path)) throw bad('is missing');
  const { size } = await stat(path);
  if (size !== record.bytes) throw bad(`has ${size} bytes instead of ${record.bytes}`);
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 4 * 1024 * 1024 })) hash.update(chunk as Buffer);
  if (hash.digest('hex') !== record.sha256) throw bad('does not match its checksum');
}

/** Shapes are known at once; each read opens the file for itself, so that nothing has to be closed later. */
function lazyTensors(path: string): Map<string, StoredTensor> {
  const header = openSafetensors(path);
  const names = [...header.tensors].map(([name, { shape }]) => [name, shape] as const);
  header.close();
  const reading = (name: string, read: (tensor: StoredTensor) => HostTensor): HostTensor => {
    const file = openSafetensors(path);
    try {
      return read(file.tensors.get(name) as StoredTensor);
    } finally {
      file.close();
    }
  };
  const lazy = (name: string, shape: readonly number[]): StoredTensor => ({
    shape,
    read: () => reading(name, (tensor) => tensor.read()),
    readRows: (from, to) => reading(name, (tensor) => tensor.readRows(from, to)),
  });
  return new Map(names.map(([name, shape]) => [name, lazy(name, shape)]));
}

/** Of the canonical form: members in sorted order. */
function digest(body: Omit<StateJson, 'sha256'>): string {
  return createHash('sha256').update(canonical(body)).digest('hex');
}

function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key] as Json)}`);
  return `{${members.join(',')}}`;
}

/** Keys become file names: anything that could leave the folder is refused. */
function fileName(key: string): string {
  if (!plainName.test(key))
    throw new TensorloomError(
      'MISUSE',
      `'${key}' cannot name a file of a checkpoint: use letters, digits, '.', '_' and '-'.`,
    );
  return key;
}

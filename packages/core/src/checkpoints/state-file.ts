/** `state.json` of a checkpoint folder: its form, written last and read with every check; and the check of the files that it lists. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import * as z from 'zod';
import { TensorloomError } from '../errors.ts';
import type { Json } from '../stateful.ts';
import { writeSynced } from './atomic-write.ts';

export const stateFile = 'state.json';
/** 2 knows several ranks; 1, which did not, is still read. */
export const formatVersion = 2;
/** What a file in a checkpoint may be called: nothing that leads out of the folder. */
export const plainName = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

const format = z.literal('tensorloom-checkpoint');
const jsonObject = z.record(z.string(), z.json());
const fileRecord = z.object({ bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });
const files = z.record(z.string(), fileRecord);

const statefulRecord = z.object({
  /** `rank`: what is no shard is each rank's own. */
  scope: z.enum(['shared', 'rank']),
  /** With the tensors that are the same on all ranks. */
  file: z.string().nullable(),
  values: jsonObject,
  /** Names of the tensors of which each rank's file has that rank's rows. */
  shards: z.array(z.string()),
  /** What each rank stored for itself, by rank; none where all is shared. */
  ranks: z.array(z.object({ file: z.string().nullable(), values: jsonObject })),
});
const stateSchema = z.object({
  format,
  formatVersion: z.literal(formatVersion),
  /** Of everything else in this file. */
  sha256: z.string(),
  /** How many ranks wrote it. */
  worldSize: z.int().min(1),
  files,
  statefuls: z.record(z.string(), statefulRecord),
  values: jsonObject,
});
const firstSchema = z.object({
  format,
  formatVersion: z.literal(1),
  sha256: z.string(),
  files,
  statefuls: z.record(z.string(), z.object({ file: z.string().nullable(), values: jsonObject })),
  values: jsonObject,
});

export type FileRecord = z.infer<typeof fileRecord>;
export type StatefulRecord = z.infer<typeof statefulRecord>;
/** What the file says, without what is about the file itself. */
export type CheckpointState = Omit<z.infer<typeof stateSchema>, 'format' | 'formatVersion' | 'sha256'>;

/** Writes the file that makes the folder a checkpoint. */
export async function writeState(folder: string, state: CheckpointState): Promise<void> {
  const body = { format: 'tensorloom-checkpoint', formatVersion, ...state };
  await writeSynced(join(folder, stateFile), `${JSON.stringify({ ...body, sha256: digest(body) }, null, 1)}\n`);
}

/** @throws TensorloomError `BAD_CHECKPOINT` if it is missing, damaged, contradicts itself, or is of a later format */
export async function readState(folder: string): Promise<CheckpointState> {
  const path = join(resolve(folder), stateFile);
  const bad: Refusal = (what, cause) =>
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
  const parsed = (version === 1 ? firstSchema : stateSchema).safeParse(json);
  if (!parsed.success)
    throw bad(
      `${stateFile} has an unexpected form (${parsed.error.issues.map((issue) => issue.path.join('.') || issue.message).join(', ')})`,
    );
  const { sha256, ...body } = parsed.data;
  for (const file of Object.keys(body.files))
    if (!plainName.test(file)) throw bad(`it names the file ${JSON.stringify(file)}, which may lie outside of it`);
  const state = body.formatVersion === 1 ? upgraded(body) : body;
  checkStatefuls(state, bad);
  if (sha256 !== digest(body)) throw bad(`${stateFile} does not match its checksum: it was changed or damaged`);
  return state;
}

/** @throws TensorloomError `BAD_CHECKPOINT` if it is missing or not as it was written */
export async function checkFile(path: string, record: FileRecord): Promise<void> {
  const bad = (what: string) =>
    new TensorloomError('BAD_CHECKPOINT', `The checkpoint is damaged: ${path} ${what}. Use another checkpoint.`);
  if (!existsSync(path)) throw bad('is missing');
  const { size } = await stat(path);
  if (size !== record.bytes) throw bad(`has ${size} bytes instead of ${record.bytes}`);
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 4 * 1024 * 1024 })) hash.update(chunk as Buffer);
  if (hash.digest('hex') !== record.sha256) throw bad('does not match its checksum');
}

type Refusal = (what: string, cause?: unknown) => TensorloomError;

function upgraded({
  files,
  statefuls,
  values,
}: z.infer<typeof firstSchema> | Omit<z.infer<typeof firstSchema>, 'sha256'>): CheckpointState {
  const records = Object.entries(statefuls).map(([key, record]): [string, StatefulRecord] => [
    key,
    { scope: 'shared', ...record, shards: [], ranks: [] },
  ]);
  return { worldSize: 1, files, statefuls: Object.fromEntries(records), values };
}

function checkStatefuls({ files, statefuls, worldSize }: CheckpointState, bad: Refusal): void {
  for (const [key, { scope, file, shards, ranks }] of Object.entries(statefuls)) {
    for (const name of [file, ...ranks.map((rank) => rank.file)])
      if (name !== null && !Object.hasOwn(files, name)) throw bad(`${stateFile} does not list ${name} as a file`);
    const needed = scope === 'rank' || shards.length > 0 ? worldSize : 0;
    if (ranks.length !== needed)
      throw bad(`${stateFile} has what ${ranks.length} ranks stored of '${key}', of ${needed}`);
  }
}

/** Of the canonical form: members in sorted order. */
function digest(body: Json): string {
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

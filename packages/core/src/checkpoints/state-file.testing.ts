/** For tests: a state.json that was changed and signed anew, as a wrong program might write it. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

type Members = Record<string, unknown>;

/** Changes state.json in `folder` and gives it the checksum that belongs to it. */
export function rewriteState(folder: string, change: (state: Members) => Members): void {
  const path = join(folder, 'state.json');
  const state = JSON.parse(readFileSync(path, 'utf8')) as Members;
  const { sha256: _old, ...body } = change(state);
  const sha256 = createHash('sha256').update(canonical(body)).digest('hex');
  writeFileSync(path, JSON.stringify({ ...body, sha256 }));
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join(',')}}`;
}

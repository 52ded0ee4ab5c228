/** The Python environment of the peers, made once. */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
export const python = path.join(here, '.venv/bin/python');

/** Makes the Python environment of the peers, once. */
export function provideVenv() {
  if (existsSync(path.join(here, '.venv/complete'))) return;
  console.log('installing PyTorch and transformers into tools/bench/.venv (several GB, a few minutes) …');
  execFileSync('python3', ['-m', 'venv', path.join(here, '.venv')], { stdio: 'inherit' });
  execFileSync(python, ['-m', 'pip', 'install', '-q', '-r', path.join(here, 'requirements.txt')], { stdio: 'inherit' });
  writeFileSync(path.join(here, '.venv/complete'), '');
}

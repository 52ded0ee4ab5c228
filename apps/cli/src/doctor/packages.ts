/** Versions of the packages that training rests on. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

export interface PackageFinding {
  readonly name: string;
  /** Undefined where it is not installed. */
  readonly version: string | undefined;
  readonly optional: boolean;
}

const REQUIRED = ['@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm', 'tokenizers', '@huggingface/hub'];
const OPTIONAL = ['@tensorflow/tfjs-node', '@tensorflow/tfjs-node-gpu'];

export function examinePackages(): PackageFinding[] {
  return [...REQUIRED, ...OPTIONAL].map((name) => ({
    name,
    version: installedVersion(name),
    optional: OPTIONAL.includes(name),
  }));
}

/** Looked up as Node.js would resolve the package from here, without loading it. */
function installedVersion(name: string): string | undefined {
  const folders = createRequire(import.meta.url).resolve.paths(name) ?? [];
  for (const folder of folders) {
    try {
      const file: unknown = JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8'));
      if (file !== null && typeof file === 'object' && 'version' in file && typeof file.version === 'string')
        return file.version;
    } catch {
      continue; // not in this folder
    }
  }
  return undefined;
}

/** Version of this program, from its own package.json. */
export function ownVersion(): string {
  const file: unknown = JSON.parse(
    readFileSync(join(dirname(new URL(import.meta.url).pathname), '../../package.json'), 'utf8'),
  );
  return file !== null && typeof file === 'object' && 'version' in file ? String(file.version) : 'unknown';
}

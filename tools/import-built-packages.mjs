/** Imports each built package in plain Node, without tsx or the source condition, and says what it exports. Run after `npm run build`. */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const packages = fileURLToPath(new URL('../packages/', import.meta.url));
for (const folder of readdirSync(packages)) {
  const { name } = JSON.parse(readFileSync(path.join(packages, folder, 'package.json'), 'utf8'));
  const resolved = import.meta.resolve(name);
  if (!resolved.includes('/dist/')) throw new Error(`${name} resolves to ${resolved}, not to its dist folder`);
  const exported = Object.keys(await import(name));
  if (exported.length === 0) throw new Error(`${name} exports nothing`);
  console.log(`${name}: ${exported.length} exports`);
}
// Accelerators may keep timers or threads of their own alive.
process.exit(0);

/**
 * Makes the npm package that carries the built addon for this platform, as napi-rs names and lays them out: npm/linux-x64-gnu with
 * `@tensorloom/native-linux-x64-gnu`. Run after `nx run native:addon`; publish with `npm publish packages/native/npm/PLATFORM`.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { platformName } from './platform.mjs';

const root = fileURLToPath(new URL('../', import.meta.url));
const { name, version, description, license, napi } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const platform = platformName();
const file = `${napi.binaryName}.${platform}.node`;
const built = path.join(root, 'addon', file);
if (!existsSync(built)) {
  console.error(`There is no ${path.relative(process.cwd(), built)}: run \`npx nx run native:addon\` first.`);
  process.exit(1);
}
const [os, cpu, abi] = platform.split('-');
const folder = path.join(root, 'npm', platform);
mkdirSync(folder, { recursive: true });
copyFileSync(built, path.join(folder, file));
const manifest = {
  name: `${name}-${platform}`,
  version,
  description: `${description} For ${platform}.`,
  license,
  main: file,
  files: [file],
  os: [os],
  cpu: [cpu],
  ...(os === 'linux' ? { libc: [abi === 'gnu' ? 'glibc' : 'musl'] } : {}),
};
writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
console.log(`made ${path.relative(process.cwd(), folder)}`);

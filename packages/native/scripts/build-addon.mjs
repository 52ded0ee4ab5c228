/** Builds the Rust addon with cargo and puts it where src/addon.ts looks for it. Without cargo, or with TENSORLOOM_SKIP_NATIVE=1, it says so and succeeds: the other accelerators need none. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { platformName } from './platform.mjs';

const root = fileURLToPath(new URL('../', import.meta.url));
const library = {
  linux: 'libtensorloom_node.so',
  darwin: 'libtensorloom_node.dylib',
  win32: 'tensorloom_node.dll',
}[process.platform];

if (process.env.TENSORLOOM_SKIP_NATIVE === '1') {
  console.log("The accelerator 'native' is not built, as TENSORLOOM_SKIP_NATIVE=1 says; the others work.");
  process.exit(0);
}
if (spawnSync('cargo', ['--version'], { stdio: 'ignore' }).status !== 0) {
  console.log(
    "cargo is not here, so the accelerator 'native' is not built; the others work. To have it, install Rust (https://rustup.rs), then run `npx nx build native`.",
  );
  process.exit(0);
}
console.log("building the accelerator 'native' (a minute or two at first) …");
const { status } = spawnSync('cargo', ['build', '--quiet', '--release', '--locked', '-p', 'tensorloom-node'], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) {
  console.error(
    "cargo could not build the accelerator 'native' (see above). Mend that, or go on without it: set TENSORLOOM_SKIP_NATIVE=1.",
  );
  process.exit(status ?? 1);
}
const folder = path.join(root, 'addon');
mkdirSync(folder, { recursive: true });
const file = path.join(folder, `tensorloom.${platformName()}.node`);
// Renamed, since a process may have the old one loaded.
copyFileSync(path.join(root, 'target', 'release', library), `${file}.partial`);
renameSync(`${file}.partial`, file);
console.log(`built ${path.relative(process.cwd(), file)}`);

/** Gives an installed @tensorflow/tfjs-node(-gpu) its native binding, and proves that it computes. */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { LIBTENSORFLOW_VERSION, librariesAreCached, provideLibraries, requireBuildTools } from './libraries.mjs';
import { SetupFailure, runQuietly, say } from './steps.mjs';

const workspaceRoot = fileURLToPath(new URL('../../', import.meta.url));
const requireFromCore = createRequire(path.join(workspaceRoot, 'packages/core/package.json'));

/**
 * Finds the package as packages/core would, and makes sure that both use one copy of @tensorflow/tfjs.
 * @returns {{name: string, folder: string, binary: {host: string, remote_path: string, napi_versions: number[]}, version: string}}
 */
export function findPackage({ gpu }) {
  const name = gpu ? '@tensorflow/tfjs-node-gpu' : '@tensorflow/tfjs-node';
  let manifestPath;
  try {
    manifestPath = requireFromCore.resolve(`${name}/package.json`);
  } catch {
    throw new SetupFailure(
      `${name} is not in node_modules: run "npm ci" in ${workspaceRoot} first (without --omit=optional)`,
    );
  }
  const theirs = realpathSync(createRequire(manifestPath).resolve('@tensorflow/tfjs'));
  const ours = realpathSync(requireFromCore.resolve('@tensorflow/tfjs'));
  if (theirs !== ours) {
    throw new SetupFailure(`${name} and @tensorloom/core use two copies of @tensorflow/tfjs:\n  ${theirs}\n  ${ours}`);
  }
  const { binary, version } = JSON.parse(readFileSync(manifestPath, 'utf8'));
  return { name, folder: path.dirname(manifestPath), binary, version };
}

/** The program that the proof runs: a product and its gradient whose values are known. */
const PROOF = `
const tf = require(process.argv[1]);
const a = tf.tensor2d([1, 2, 3, 4], [2, 2]);
const b = tf.tensor2d([5, 6, 7, 8], [2, 2]);
const product = [...tf.matMul(a, b).dataSync()];
const gradient = [...tf.grad((x) => tf.sum(tf.square(tf.matMul(x, b))))(a).dataSync()];
require('node:assert').deepStrictEqual([product, gradient], [[19, 22, 43, 50], [454, 618, 1030, 1402]]);
require('node:assert').strictEqual(tf.getBackend(), 'tensorflow');
console.log(tf.backend().binding.TF_Version);
`;

/**
 * Computes a product and a gradient with the package in a process of its own.
 * @returns {{works: true, version: string} | {works: false, reason: string}}
 */
export function tryPackage({ folder }) {
  if (!findBinding(folder)) return { works: false, reason: 'no native binding' };
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: process.env.TF_CPP_MIN_LOG_LEVEL ?? '2' };
  const result = spawnSync(process.execPath, ['-e', PROOF, folder], { encoding: 'utf8', env, timeout: 120_000 });
  if (result.status === 0) return { works: true, version: result.stdout.trim().split('\n').at(-1) };
  return { works: false, reason: `${result.stderr ?? ''}${result.error?.message ?? ''}`.trim() };
}

/** The path of the built or downloaded addon, if there is one. */
function findBinding(folder) {
  const lib = path.join(folder, 'lib');
  if (!existsSync(lib)) return undefined;
  return readdirSync(lib)
    .filter((name) => name.startsWith('napi-v'))
    .map((name) => path.join(lib, name, 'tfjs_binding.node'))
    .find((file) => existsSync(file));
}

/** Whether the package's own download site answers: asked for the prebuilt addon's headers, for 5 s at most. */
export async function downloadSiteAnswers({ binary, version }, { gpu }) {
  const napi = Math.max(...binary.napi_versions.filter((known) => known <= Number(process.versions.napi)));
  const platform = { linux: 'linux', darwin: 'darwin', win32: 'windows' }[process.platform] ?? process.platform;
  const file = `${gpu ? 'GPU' : 'CPU'}-${platform}-${version}.${process.platform === 'win32' ? 'zip' : 'tar.gz'}`;
  const remote = binary.remote_path.replace('{napi_build_version}', napi).replace('{version}', version);
  try {
    const url = new URL(path.posix.join(remote, file), `${binary.host}/`);
    const answer = await fetch(url, { method: 'HEAD', signal: AbortSignal.timeout(5000) });
    return answer.ok;
  } catch {
    return false;
  }
}

/** Lets the package's own install script download libtensorflow and the addon. */
export function installFromDownloadSite({ folder, name }, { gpu }) {
  say(`downloading what ${name} needs from its own site …`);
  runQuietly(process.execPath, ['scripts/install.js', gpu ? 'gpu' : 'cpu', 'download'], {
    cwd: folder,
    env: environmentOfBuild(),
    what: `${name}'s own install script`,
  });
}

/** Links the cached libraries into the package and compiles its addon against them, or takes the addon compiled before. */
export function installFromPypi(found, { gpu, rebuild }) {
  const { folder, name, version } = found;
  requireBuildTools({ librariesCached: librariesAreCached({ gpu }) });
  const libraries = provideLibraries({ gpu });
  const deps = path.join(folder, 'deps');
  rmSync(deps, { recursive: true, force: true });
  rmSync(path.join(folder, 'lib'), { recursive: true, force: true });
  mkdirSync(deps);
  for (const part of ['lib', 'include']) symlinkSync(path.join(libraries, part), path.join(deps, part));

  const napi = `napi-v${Math.max(...found.binary.napi_versions.filter((known) => known <= Number(process.versions.napi)))}`;
  const target = path.join(folder, 'lib', napi, 'tfjs_binding.node');
  const kept = path.join(libraries, `tfjs_binding-${version}-${napi}.node`);
  if (existsSync(kept) && !rebuild) {
    mkdirSync(path.dirname(target), { recursive: true });
    copyFileSync(kept, target);
    if (tryPackage(found).works) {
      say(`the addon built before is in ${libraries}`);
      return;
    }
  }
  say(`compiling the addon of ${name} against libtensorflow ${LIBTENSORFLOW_VERSION} …`);
  const preGyp = createRequire(path.join(folder, 'package.json')).resolve('@mapbox/node-pre-gyp/bin/node-pre-gyp');
  runQuietly(process.execPath, [preGyp, 'install', '--build-from-source'], {
    cwd: folder,
    env: environmentOfBuild(),
    what: `compiling the addon of ${name}`,
  });
  rmSync(path.join(folder, 'build'), { recursive: true, force: true });
  copyFileSync(target, `${kept}.${process.pid}`);
  renameSync(`${kept}.${process.pid}`, kept);
}

/** The environment for node-gyp: npm's copy of it, and the headers that came with this Node where they did. */
function environmentOfBuild() {
  const env = { ...process.env };
  const root = path.resolve(path.dirname(process.execPath), '..');
  if (!env.npm_config_nodedir && existsSync(path.join(root, 'include/node/node_api.h'))) env.npm_config_nodedir = root;
  if (!env.npm_config_node_gyp) {
    const globalModules = runQuietly('npm', ['root', '-g'], { what: 'asking npm for its folder' }).trim();
    const nodeGyp = path.join(globalModules, 'npm/node_modules/node-gyp/bin/node-gyp.js');
    if (existsSync(nodeGyp)) env.npm_config_node_gyp = nodeGyp;
  }
  env.PATH = `${path.join(workspaceRoot, 'node_modules/.bin')}${path.delimiter}${env.PATH}`;
  return env;
}

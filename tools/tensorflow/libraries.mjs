/** Brings libtensorflow and its headers from PyPI's TensorFlow wheel into a cache folder outside node_modules, once per machine. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { SetupFailure, canRun, runQuietly, say } from './steps.mjs';

/** Version of the TensorFlow wheels in the requirements files beside this module. */
export const LIBTENSORFLOW_VERSION = '2.12.1';

const here = path.dirname(fileURLToPath(import.meta.url));

/** Where the libraries are kept: TENSORLOOM_CACHE, else XDG_CACHE_HOME/tensorloom, else ~/.cache/tensorloom. */
export function cacheFolder() {
  const own = process.env.TENSORLOOM_CACHE;
  if (own) return path.resolve(own);
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'tensorloom');
}

/** Says every tool that is missing at once, with what installs it. */
export function requireBuildTools({ librariesCached }) {
  const missing = [];
  if (!canRun('python3', ['-c', 'import sys; sys.exit(sys.version_info < (3, 10))'])) {
    missing.push('python3, 3.10 or newer (Debian: apt-get install python3)');
  } else if (!librariesCached && !canRun('python3', ['-m', 'pip', '--version'])) {
    missing.push('pip for python3 (Debian: apt-get install python3-pip)');
  }
  if (!canRun('g++', ['--version'])) missing.push('g++ (Debian: apt-get install g++)');
  if (!canRun('make', ['--version'])) missing.push('make (Debian: apt-get install make)');
  if (missing.length > 0) {
    throw new SetupFailure(`the binding is built here, and this machine lacks:\n  - ${missing.join('\n  - ')}`);
  }
}

/** The folder of the unpacked libraries, whether or not it is there yet. */
export function librariesFolder({ gpu }) {
  return path.join(cacheFolder(), `libtensorflow-${gpu ? 'gpu' : 'cpu'}-${LIBTENSORFLOW_VERSION}`);
}

/** Whether the libraries are unpacked: the folder takes its name only when it is whole. */
export function librariesAreCached({ gpu }) {
  return existsSync(path.join(librariesFolder({ gpu }), 'lib', 'libtensorflow.so'));
}

/**
 * Downloads and unpacks the libraries unless they are cached.
 * @returns {string} a folder with lib/ and include/
 */
export function provideLibraries({ gpu }) {
  const folder = librariesFolder({ gpu });
  if (librariesAreCached({ gpu })) {
    say(`libtensorflow ${LIBTENSORFLOW_VERSION} is cached in ${folder}`);
    return folder;
  }
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new SetupFailure(
      `the libraries from PyPI are for linux-x64 and this is ${process.platform}-${process.arch}: ` +
        `run this where TensorFlow.js's own download site is reachable, or use the accelerators wasm or cpu`,
    );
  }
  mkdirSync(cacheFolder(), { recursive: true });
  const staging = mkdtempSync(path.join(cacheFolder(), 'unpacking-'));
  try {
    say(`downloading the wheel of TensorFlow ${LIBTENSORFLOW_VERSION} from PyPI (${gpu ? 586 : 232} MB) …`);
    const wheels = path.join(staging, 'wheels');
    const requirements = path.join(here, gpu ? 'libtensorflow-gpu.requirements.txt' : 'libtensorflow.requirements.txt');
    const selection = ['--only-binary=:all:', '--python-version', '3.11', '--platform', 'manylinux2014_x86_64'];
    runQuietly(
      'python3',
      ['-m', 'pip', 'download', '-q', '--no-deps', '--require-hashes', ...selection, '-d', wheels, '-r', requirements],
      { what: 'the download from PyPI' },
    );
    const wheel = readdirSync(wheels).find((name) => name.endsWith('.whl'));
    if (!wheel) throw new SetupFailure(`pip said it was done, but left no wheel in ${wheels}`);
    say('unpacking …');
    const unpacked = path.join(staging, 'unpacked');
    runQuietly('python3', [path.join(here, 'unpack_wheel.py'), path.join(wheels, wheel), unpacked], {
      what: 'unpacking the wheel',
    });
    addNamesOfLibraries(path.join(unpacked, 'lib'));
    if (!librariesAreCached({ gpu })) {
      rmSync(folder, { recursive: true, force: true });
      renameSync(unpacked, folder);
    }
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return folder;
}

/** The names under which the linker, and the package's own install script, look for the two libraries. */
function addNamesOfLibraries(lib) {
  symlinkSync('libtensorflow_cc.so.2', path.join(lib, 'libtensorflow.so'));
  symlinkSync('libtensorflow_cc.so.2', path.join(lib, 'libtensorflow.so.2.9.1'));
  symlinkSync('libtensorflow_framework.so.2', path.join(lib, 'libtensorflow_framework.so'));
}

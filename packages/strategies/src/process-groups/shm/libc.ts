/** Mapping files and sleeping on words of them: the system calls of Linux that Node.js lacks, through koffi. */
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import type * as Koffi from 'koffi';
import { TensorloomError } from '@tensorloom/core/distributed';
import type { SharedWords } from '../slots/segment.ts';

interface Libc {
  readonly mmap: (
    address: null,
    length: number,
    protection: number,
    flags: number,
    file: number,
    offset: number,
  ) => unknown;
  readonly munmap: (address: unknown, length: number) => number;
  readonly posixFallocate: (file: number, offset: number, length: number) => number;
  readonly futex: (
    number: number,
    word: Int32Array,
    operation: number,
    value: number,
    timeout: BigInt64Array | null,
    address2: null,
    value3: number,
  ) => number;
  readonly view: (pointer: unknown, length: number) => ArrayBuffer;
  readonly address: (pointer: unknown) => bigint;
  readonly errno: () => number;
}

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
const EVERYBODY = 0x7fffffff;
const FUTEX_NUMBERS: Readonly<Record<string, number>> = { x64: 202, arm64: 98 };

let loaded: Libc | undefined;

/** What is missing for shared memory between processes, or null. */
export function missingForMapping(): string | null {
  if (platform() !== 'linux') return `it needs Linux; this is ${platform()}`;
  if (FUTEX_NUMBERS[arch()] === undefined) return `it knows x64 and arm64; this processor is ${arch()}`;
  try {
    load();
    return null;
  } catch (error) {
    return `the package koffi cannot be loaded (${(error as Error).message.split('\n')[0]}); install it: npm install koffi`;
  }
}

function load(): Libc {
  if (loaded !== undefined) return loaded;
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
  const libc = koffi.load('libc.so.6');
  loaded = {
    mmap: libc.func('void *mmap(void *, size_t, int, int, int, int64_t)') as Libc['mmap'],
    munmap: libc.func('int munmap(void *, size_t)') as Libc['munmap'],
    posixFallocate: libc.func('int posix_fallocate(int, int64_t, int64_t)') as Libc['posixFallocate'],
    futex: libc.func('long syscall(long, void *, int, int, void *, void *, int)') as Libc['futex'],
    view: koffi.view as Libc['view'],
    address: koffi.address as Libc['address'],
    errno: () => koffi.errno(),
  };
  return loaded;
}

/** A mapped file. */
export interface Mapping extends SharedWords {
  unmap(): void;
}

/** Takes the disk's or memory's room now: a file with holes ends a process with SIGBUS when there is none left. */
export function reserve(file: number, bytes: number): void {
  const code = load().posixFallocate(file, 0, bytes);
  if (code !== 0)
    throw new TensorloomError('IO', `there is no room for ${bytes} bytes of shared memory (error ${code})`);
}

/** Maps the first `bytes` of an open file, shared with all who map it. */
export function mapFile(file: number, bytes: number): Mapping {
  const libc = load();
  const pointer = libc.mmap(null, bytes, PROT_READ_WRITE, MAP_SHARED, file, 0);
  if (pointer === null || libc.address(pointer) === 0xffff_ffff_ffff_ffffn)
    throw new TensorloomError('IO', `mmap of ${bytes} bytes of shared memory failed (error ${libc.errno()})`);
  const buffer = libc.view(pointer, bytes);
  const number = FUTEX_NUMBERS[arch()] as number;
  const words = new Map<number, Int32Array>();
  const wordAt = (index: number): Int32Array => {
    let word = words.get(index);
    if (word === undefined) words.set(index, (word = new Int32Array(buffer, index * 4, 1)));
    return word;
  };
  const timeout = new BigInt64Array(2);
  return {
    buffer,
    wait: (index, value, timeoutMs) => {
      timeout[0] = BigInt(Math.floor(timeoutMs / 1000));
      timeout[1] = BigInt(Math.floor((timeoutMs % 1000) * 1e6));
      libc.futex(number, wordAt(index), FUTEX_WAIT, value, timeout, null, 0);
    },
    wake: (index) => void libc.futex(number, wordAt(index), FUTEX_WAKE, EVERYBODY, null, null, 0),
    unmap: () => void libc.munmap(pointer, bytes),
  };
}

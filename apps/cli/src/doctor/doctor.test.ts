import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accelerators, type Accelerator } from '@tensorloom/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { examineAccelerators } from './accelerators.ts';
import { examine, isSupported } from './examine.ts';
import { examineMachine, parseSimdFlags } from './machine.ts';
import { examineEnvironment } from './ranks.ts';
import { bytes, formatFindings } from './report.ts';
import { examineCache } from './storage.ts';

const folder = mkdtempSync(join(tmpdir(), 'tensorloom-doctor-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An accelerator that is preferred over all others but cannot be used. */
function broken(unavailable: string | null): Accelerator {
  return {
    name: 'imaginary',
    storages: ['float32'],
    unavailable: () => Promise.resolve(unavailable),
    deviceCount: () => 0,
    activate: () => Promise.reject(new Error('the driver is too old')),
    describe: () => '',
    memory: () => ({ currentBytes: 0, tensorCount: 0 }),
  };
}

describe('the machine', () => {
  it('has cores and memory', () => {
    const machine = examineMachine();
    expect(machine.cores).toBeGreaterThan(0);
    expect(machine.memoryBytes).toBeGreaterThan(machine.freeMemoryBytes);
    expect(machine.wasmSimd).toBe(true);
  });

  it('tells its vector instructions, of x86 and of Arm', () => {
    expect(parseSimdFlags('processor : 0\nflags\t\t: fpu sse4_2 avx fma avx2 avx512f other\n')).toEqual([
      'sse4_2',
      'avx',
      'fma',
      'avx2',
      'avx512f',
    ]);
    expect(parseSimdFlags('Features : fp asimd asimdhp bf16\n')).toEqual(['asimd', 'asimdhp', 'bf16']);
    expect(parseSimdFlags('nothing here')).toBeUndefined();
  });

  it.each([
    ['20.11.0', true],
    ['20.10.9', false],
    ['18.20.1', false],
    ['24.0.0', true],
  ])('Node.js %s is supported: %s', (version, supported) => expect(isSupported(version)).toBe(supported));
});

describe('the cache folder', () => {
  it('counts files and bytes below it', () => {
    writeFileSync(join(folder, 'a.bin'), new Uint8Array(1500));
    expect(examineCache(folder)).toEqual({ path: folder, exists: true, writable: true, files: 1, bytes: 1500 });
  });

  it('need not exist, as long as it can be made', () => {
    expect(examineCache(join(folder, 'not', 'yet'))).toMatchObject({ exists: false, writable: true, files: 0 });
  });

  it('is a problem when it cannot be made', () => {
    expect(examineCache(join(folder, 'a.bin', 'sub'))).toMatchObject({ exists: false, writable: false });
  });
});

describe('accelerators', () => {
  let reason: string | null = 'the board is missing: plug it in';
  beforeAll(() => accelerators.register('imaginary', { priority: 1e6, create: () => broken(reason) }));

  it('are listed as auto looks at them, with the reason and the cost of what is missing', async () => {
    const [first, ...rest] = await examineAccelerators();
    const preferred = rest.find((each) => each.preferred);
    expect(first).toMatchObject({ name: 'imaginary', available: false, reason, preferred: false });
    expect(first?.cost).toContain(`training runs on ${preferred?.name ?? '?'} instead`);
    expect(rest.find((each) => each.name === 'cpu')).toMatchObject({
      available: true,
      reason: null,
      precisions: expect.arrayContaining(['32-true']) as string[],
    });
  });

  it('that do not start are not available', async () => {
    reason = null;
    const [first] = await examineAccelerators();
    expect(first).toMatchObject({ name: 'imaginary', available: false });
    expect(first?.reason).toContain('the driver is too old');
  });
});

describe('the findings', () => {
  it('say that training is possible here, and name every strategy, precision and accelerator that is registered', async () => {
    const findings = await examine();
    expect(findings).toMatchObject({ canTrain: true, problems: [] });
    expect(findings.strategies.map((each) => each.name)).toContain('accumulate');
    const text = formatFindings(findings);
    for (const name of [...accelerators.names(), ...findings.precisions.map((each) => each.name), findings.cache.path])
      expect(text).toContain(name);
    expect(text).toMatch(/Training is possible here\.$/);
    for (const name of ['auto', 'shm', 'ws', 'mpi']) expect(text).toMatch(new RegExp(`\\[[x ]\\] ${name}: `));
    expect(text).toMatch(/Cluster environment\n {2}none: started alone\n {2}recognised: .*torchrun/);
  });

  it('say what stands in the way', async () => {
    const findings = { ...(await examine()), canTrain: false, problems: ['The package x is missing: run npm ci.'] };
    expect(formatFindings(findings)).toMatch(
      /Training is not possible here:\n {2}The package x is missing: run npm ci\.$/,
    );
  });
});

it('bytes are given in the unit that keeps them short', () => {
  expect([0, 512, 1536, 3 * 1024 ** 3].map(bytes)).toEqual(['0 bytes', '512 bytes', '1.5 KiB', '3.0 GiB']);
});

it("the cluster environment is told from a launcher's variables, also where they are wrong", () => {
  const variables = { RANK: '1', WORLD_SIZE: '2', MASTER_ADDR: '10.0.0.1', MASTER_PORT: '29500' };
  expect(examineEnvironment(variables).description).toMatch(
    /^torchrun: rank 1 of 2, on \d machines?, meeting at 10\.0\.0\.1:29500$/,
  );
  expect(examineEnvironment({ RANK: '1' }).description).toMatch(/cannot be used: torchrun: WORLD_SIZE is not set/);
});

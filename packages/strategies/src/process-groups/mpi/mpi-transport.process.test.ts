/** The medium `mpi` under mpirun. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it as test } from 'vitest';
import { hasMpi } from '../../testing/has-mpi.testing.ts';
import { SOURCE_ARGUMENTS } from '../../testing/scenario.testing.ts';
import type { RankInput } from './mpi-rank.testing.ts';

const it = test.runIf(await hasMpi());

interface Outcome {
  readonly rank: number;
  readonly result?: unknown;
  readonly code?: string;
  readonly message?: string;
}

type Input = Omit<RankInput, 'folder' | 'failing'>;

/** What the ranks said, by rank, and mpirun's exit code. @param failing how many ranks fail */
async function mpirun(
  size: number,
  given: Input,
  failing = 0,
): Promise<{ readonly said: Outcome[]; readonly code: number | null; readonly output: string }> {
  const script = fileURLToPath(new URL('./mpi-rank.testing.ts', import.meta.url));
  const folder = mkdtempSync(path.join(tmpdir(), 'tensorloom-mpi-'));
  const input: RankInput = { ...given, folder, failing };
  const how = ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '-np', String(size)];
  const child = spawn('mpirun', [...how, process.execPath, ...SOURCE_ARGUMENTS, script, JSON.stringify(input)]);
  const limit = setTimeout(() => child.kill('SIGTERM'), 120_000);
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(limit);
  rmSync(folder, { recursive: true });
  const lines = output.split('\n').filter((line) => line.startsWith('@ '));
  const said = lines.map((line) => JSON.parse(line.slice(2)) as Outcome).sort((a, b) => a.rank - b.rank);
  return { said, code, output };
}

it.each<[number, string, Partial<Input>]>([
  [1, 'blocking', {}],
  [3, 'polled', { nonBlocking: true }],
  [3, 'in rounds of a few elements', { maxCount: 5 }],
])('carries out every call on %i ranks, %s', async (size, _how, options) => {
  const { said, code, output } = await mpirun(size, { ...options, scenario: 'every call' });
  expect(
    said.map(({ result }) => result),
    output,
  ).toEqual(new Array(size).fill('all right'));
  expect(code).toBe(0);
});

it('splits off a group with an order of its own', async () => {
  const { said, code } = await mpirun(3, { scenario: 'split' });
  expect(said.map(({ result }) => result)).toEqual([[1, 2, 2, 0], null, [0, 2, 2, 0]]);
  expect(code).toBe(0);
});

/** All of `ranks` failed with the same words. */
async function allFail(input: Input, code: string, message: string | RegExp, ranks = [0, 1, 2]): Promise<void> {
  const outcome = await mpirun(3, input, ranks.length);
  expect(
    outcome.said.map(({ rank }) => rank),
    outcome.output,
  ).toEqual(ranks);
  for (const said of outcome.said) {
    expect(said.code).toBe(code);
    expect(said.message).toMatch(message);
  }
  expect(outcome.code).not.toBe(0);
}

it('names the ranks that called something else', async () => {
  const message = /ranks 0, 2 called all-reduce sum float32\[5\]; rank 1 called all-reduce sum float32\[6\]/;
  await allFail({ scenario: 'different calls' }, 'COLLECTIVE_MISMATCH', message);
});

it("names the ranks whose all-to-all's counts do not fit", async () => {
  await allFail(
    { scenario: 'different counts' },
    'COLLECTIVE_MISMATCH',
    /rank 2 sends 2 elements to rank 0, which expects 1/,
  );
});

it('tells all ranks of a message that was not what its receiver expected', async () => {
  const message = /rank 0 called send float32\[3\] to rank 1; rank 1 called receive float32\[4\] from rank 0/;
  await allFail({ scenario: 'different letters' }, 'COLLECTIVE_MISMATCH', message);
});

it('names the rank that does not come', async () => {
  await allFail(
    { scenario: 'a rank that does not come', collectiveTimeoutMs: 4000 },
    'TIMEOUT',
    /^barrier 'start': rank 1 did not come within 4 s\.$/,
    [0, 2],
  );
  await allFail(
    { scenario: 'rank 0 does not come', collectiveTimeoutMs: 4000 },
    'TIMEOUT',
    /^barrier 'start': rank 0 did not come within 4 s\.$/,
    [1, 2],
  );
});

it('makes all ranks fail when one aborts, before a call and in the middle of one', async () => {
  await allFail({ scenario: 'abort' }, 'ABORTED', /^Rank 1 ended the job: the data are gone$/);
  await allFail({ scenario: 'aborted while it waits' }, 'ABORTED', /^Rank 1 ended the job: enough$/, [1, 2]);
});

it('ends with mpirun when a rank is killed in the middle of a collective', async () => {
  const { said, code, output } = await mpirun(3, { scenario: 'killed' });
  expect(said).toEqual([]);
  expect(code).not.toBe(0);
  expect(output).toMatch(/rank 1 .*exited on signal 9/s);
});

it('refuses a world of another size than MPI has, and to be initialized twice', async () => {
  await allFail(
    { scenario: 'split', pretendedSize: 4 },
    'UNSUPPORTED',
    /MPI has this process as rank \d of 3, the cluster environment as rank \d of 4/,
  );
  await allFail({ scenario: 'twice' }, 'UNSUPPORTED', /MPI was initialized in this process before/);
});

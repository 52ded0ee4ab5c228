import { spawnSync } from 'node:child_process';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TinyRuns } from '../testing/tiny-run.testing.ts';

const timeoutMs = 300_000;
const runs = new TinyRuns('cpu');
const short = ['--dropout=0', '--max-steps=3'];

beforeAll(async () => {
  const launched = await runs.train('launched', ...short, '--devices=2');
  expect(launched).toMatchObject({ code: 0, stderr: '' });
  expect(launched.stdout).toMatch(/several ranks: strategy=ddp\n[^]*ddp on 2 ranks over shm: /);
}, timeoutMs);
afterAll(() => runs.place.dispose());

test(
  'ranks that torchrun-style variables describe find each other',
  async () => {
    const ranks = [0, 1].map((rank) =>
      runs.place.run(runs.args('torchrun', ...short), {
        env: {
          RANK: String(rank),
          LOCAL_RANK: String(rank),
          WORLD_SIZE: '2',
          LOCAL_WORLD_SIZE: '2',
          MASTER_ADDR: '127.0.0.1',
          MASTER_PORT: String(20_000 + (process.pid % 10_000)),
        },
      }),
    );
    const [first, second] = await Promise.all(ranks);
    expect(first).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/test accuracy/) });
    expect(second).toMatchObject({ code: 0, stderr: '', stdout: '' });
    expect(runs.largestDifference('launched', 'torchrun')).toBe(0);
  },
  timeoutMs,
);

const mpirun = spawnSync('mpirun', ['--version']).status === 0;
if (!mpirun) {
  if (process.env['TENSORLOOM_REQUIRE_MPI'] === '1')
    throw new Error('TENSORLOOM_REQUIRE_MPI=1, but there is no mpirun');
  console.log('not tried: mpirun is not installed');
}
test.runIf(mpirun)(
  'mpirun -np 2 tensorloom train --strategy=ddp just works',
  async () => {
    const { binary, environment } = runs.place;
    const { stdout, exitCode } = await execa(
      'mpirun',
      [
        '--allow-run-as-root',
        '--oversubscribe',
        '-np',
        '2',
        binary,
        ...runs.args('mpirun', ...short, '--strategy=ddp'),
      ],
      { cwd: runs.place.folder, env: environment, reject: false },
    );
    expect(stdout).toMatch(/ddp on 2 ranks over mpi: /);
    expect(stdout.match(/test accuracy/g)).toHaveLength(1);
    expect(exitCode).toBe(0);
    expect(runs.largestDifference('launched', 'mpirun')).toBeLessThan(1e-5);
  },
  timeoutMs,
);

describe('a mistake is told once, and leaves nothing behind', { timeout: timeoutMs }, () => {
  test('before ranks are started', async () => {
    const { code, stdout, stderr } = await runs.train('launched', ...short, '--devices=2');
    expect(stderr).toMatch(/^error: .*launched exists already[^\n]*\n$/);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  test('in the flags of ranks that a launcher has started', async () => {
    const { code, stderr } = await runs.place.run([
      'launch',
      '--devices=2',
      '--',
      ...runs.args('wrong', ...short, '--lr=-1'),
    ]);
    expect(stderr.match(/error: /g)).toHaveLength(1);
    expect(code).toBe(2);
  });

  test('--devices that are not what a launcher has started', async () => {
    const { code, stderr } = await runs.place.run([
      'launch',
      '--devices=2',
      '--',
      ...runs.args('wrong', ...short, '--devices=4', '--accumulate=4'),
    ]);
    expect(stderr).toMatch(/--devices=4, but tensorloom launch has started 2 ranks/);
    expect(code).toBe(2);
  });
});

describe('run', { timeout: timeoutMs }, () => {
  const core = new URL('../../../../packages/core/src/index.ts', import.meta.url).href;
  const strategies = new URL('../../../../packages/strategies/src/index.ts', import.meta.url).href;
  const script = runs.place.write(
    'script.mts',
    `import { Fabric } from '${core}';
import '${strategies}';
const fabric: Fabric = new Fabric();
await fabric.launch(async () => {
  const sum: number = await fabric.allReduce(fabric.globalRank + 1, 'sum');
  fabric.print([fabric.strategy.name, fabric.accelerator.name, fabric.worldSize, sum, ...process.argv.slice(2)].join(' '));
});
`,
  );

  test('gives a script in TypeScript the devices, strategy and accelerator of the command line, and its own arguments', async () => {
    const { code, stdout, stderr } = await runs.place.run([
      'run',
      '--devices=2',
      '--strategy=ddp',
      '--accelerator=cpu',
      script,
      '--devices=7',
      'x',
    ]);
    expect(stderr).toBe('');
    expect(stdout).toBe('[rank 0] ddp cpu 2 3 --devices=7 x\n');
    expect(code).toBe(0);
  });

  const ofNoType = runs.place.write(
    'of-no-type.ts',
    `import { Fabric } from '${core}';
import '${strategies}';
import { options } from './options.ts';
const fabric: Fabric = new Fabric(options);
await fabric.launch();
`,
  );

  test('takes TypeScript for modules where no package.json says so, and tells errors in one line of each rank', async () => {
    runs.place.write('options.ts', `export const options: Readonly<Record<string, string>> = { precison: '32-true' };`);
    const { code, stdout, stderr } = await runs.place.run(['run', '--devices=2', '--accelerator=cpu', ofNoType]);
    const ofRanks = stderr.split('\n').filter((line) => line.startsWith('[rank '));
    const message = /^\[rank (\d)\] error: Fabric: unknown option 'precison'\. Did you mean 'precision'/;
    expect(ofRanks.map((line) => message.exec(line)?.[1]).sort()).toEqual(['0', '1']);
    expect(stdout).toBe('');
    expect(code).toBe(2);
    const { stderr: debugged } = await runs.place.run(['run', ofNoType], { env: { TENSORLOOM_DEBUG: '1' } });
    expect(debugged).toMatch(/TensorloomError: Fabric: unknown option[^]*\n\s+at .*of-no-type\.ts/);
  });

  test('leaves errors of other kinds as they are, and those that the script handles itself to it', async () => {
    const fails = runs.place.write('throws.ts', `export {};\nthrow new RangeError('of the script');`);
    const failed = await runs.place.run(['run', fails]);
    expect(failed.stderr).toMatch(/^RangeError: of the script\n\s+at .*throws\.ts/);
    expect(failed.code).toBe(1);
    const handles = runs.place.write(
      'handles.cjs',
      `process.on('uncaughtException', () => process.exit(9)); throw new Error(__dirname);`,
    );
    expect(await runs.place.run(['run', handles])).toMatchObject({ code: 9, stderr: '' });
  });

  test('without devices runs the script itself; exit codes are passed on', async () => {
    expect(await runs.place.run(['run', '--accelerator=cpu', script])).toMatchObject({
      code: 0,
      stdout: 'single cpu 1 1\n',
    });
    const fails = runs.place.write('fails.mjs', 'process.exit(7)');
    expect(await runs.place.run(['run', '--devices=2', fails])).toMatchObject({ code: 7 });
  });
});

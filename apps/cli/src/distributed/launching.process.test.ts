import { spawnSync } from 'node:child_process';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TinyRuns } from '../testing/tiny-run.testing.ts';

const timeoutMs = 300_000;
const runs = new TinyRuns('cpu');
const short = ['--strategy=ddp', '--dropout=0', '--max-steps=3'];

beforeAll(async () => {
  expect(await runs.train('launched', ...short, '--devices=2')).toMatchObject({ code: 0, stderr: '' });
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
if (!mpirun) console.log('not tried: mpirun is not installed');
test.runIf(mpirun)(
  'mpirun -np 2 tensorloom train --strategy=ddp just works',
  async () => {
    const { binary, environment } = runs.place;
    const { stdout, exitCode } = await execa(
      'mpirun',
      ['--allow-run-as-root', '--oversubscribe', '-np', '2', binary, ...runs.args('mpirun', ...short)],
      { cwd: runs.place.folder, env: environment, reject: false },
    );
    expect(stdout).toMatch(/ddp on 2 ranks/);
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

  test('without devices runs the script itself; exit codes are passed on', async () => {
    expect(await runs.place.run(['run', '--accelerator=cpu', script])).toMatchObject({
      code: 0,
      stdout: 'single cpu 1 1\n',
    });
    const fails = runs.place.write('fails.mjs', 'process.exit(7)');
    expect(await runs.place.run(['run', '--devices=2', fails])).toMatchObject({ code: 7 });
  });
});

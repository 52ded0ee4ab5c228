import { readdirSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { labelledLines, Workplace } from './testing/command-line.testing.ts';

const place = new Workplace();
afterAll(() => place.dispose());

describe('help', () => {
  test('lists all commands and the exit codes', async () => {
    const { code, stdout } = await place.run(['--help']);
    expect(code).toBe(0);
    for (const command of ['train', 'evaluate', 'predict', 'prepare', 'verify', 'doctor'])
      expect(stdout).toContain(command);
    expect(stdout).toMatch(/Exit codes: 0 .* 143/);
  });
  test('of train says the defaults', async () => {
    const { code, stdout } = await place.run(['train', '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/--strategy <value>[^]*\(default:\s+accumulate\)/);
    expect(stdout).toMatch(/--no-bucketing/);
  });
  test('without a command: help, exit code 2', async () => {
    expect(await place.run([])).toMatchObject({ code: 2 });
  });
});

// More of them: command-line.test.ts.
describe('a mistake on the command line ends with exit code 2, its name and the nearest right one, and no stack', () => {
  test.each<[string[], RegExp]>([
    [['tran'], /unknown command 'tran'[^]*train/],
    [['train', '--acumulate=16'], /unknown option '--acumulate=16'[^]*'--accumulate'/],
    [['train', '--lr=fast'], /--lr[^]*'fast'[^]*not a number/],
    [['train', '--accelerator=wsam'], /Unknown accelerator 'wsam'\. Did you mean 'wasm'/],
  ])('%j', async (args, message) => {
    const { code, stderr } = await place.run(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('TENSORLOOM_DEBUG=1 shows the stack', async () => {
    const { stderr } = await place.run(['train', '--preset=blog'], { env: { TENSORLOOM_DEBUG: '1' } });
    expect(stderr).toMatch(/\n\s+at /);
  });
});

describe('what is wrong outside of the command line ends with exit code 1', () => {
  test('a file that is not there', async () => {
    const { code, stderr } = await place.run(['train', '--accelerator=cpu', '--data=jsonl', '--data-path=none.jsonl']);
    expect(stderr).toMatch(/Cannot read .*none\.jsonl/);
    expect(code).toBe(1);
  });
  test('a broken line, by file and line', async () => {
    place.write('broken.jsonl', `${labelledLines(30)}{"text": "cut off\n`);
    const { code, stderr } = await place.run([
      'train',
      '--accelerator=cpu',
      '--data=jsonl',
      '--data-path=broken.jsonl',
    ]);
    expect(stderr).toMatch(/broken\.jsonl:31/);
    expect(code).toBe(1);
  });
});

test('an output folder that cannot be written is found before any work is done', async () => {
  place.write('taken', 'a file');
  const { code, stdout, stderr } = await place.run(['train', '--output-dir=taken']);
  expect(stderr).toMatch(/Cannot write the run folder taken[^]*--output-dir/);
  expect(stdout).toBe('');
  expect(code).toBe(2);
});

test.runIf(process.platform === 'linux')(
  'an output folder that the system makes no folders in is refused too',
  async () => {
    const { code, stderr } = await place.run(['train', '--output-dir=/proc/none']);
    expect(stderr).toMatch(/Cannot write the run folder \/proc\/none[^]*--output-dir/);
    expect(code).toBe(2);
  },
);

test('a run that fails before it trains says nothing but why, and leaves no folder', async () => {
  const { stdout } = await place.run([
    ...['train', '--accelerator=cpu', '--data=jsonl', '--data-path=none.jsonl', '--output-dir=untouched'],
  ]);
  expect(stdout).toBe('');
  expect(readdirSync(place.path('untouched'))).toEqual([]);
});

test('a model of the hub that is not in the cache and cannot be asked for ends with exit code 1', async () => {
  const { code, stderr } = await place.run(['train', '--model=bigscience/bloom-560m', '--accelerator=cpu']);
  expect(stderr).toMatch(/bigscience\/bloom-560m is not in the cache/);
  expect(code).toBe(1);
});

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

describe('a mistake on the command line ends with exit code 2, its name and the nearest right one, and no stack', () => {
  test.each<[string[], RegExp]>([
    [['tran'], /unknown command 'tran'[^]*train/],
    [['train', '--acumulate=16'], /unknown option '--acumulate=16'[^]*'--accumulate'/],
    [['train', '--lr=fast'], /--lr[^]*'fast'[^]*not a number/],
    [['train', '--lr=-1'], /--lr: -1 in the command line is not valid/],
    [['train', '--micro-batch-size', '0'], /--micro-batch-size: 0/],
    [['train', '--schedule=linaer'], /'linaer'[^]*Did you mean 'linear'/],
    [['train', '--preset=blog-acumulate'], /Unknown preset 'blog-acumulate'\. Did you mean 'blog-accumulate'/],
    [['train', 'quickstart'], /too many arguments/],
    [['train', '--data=quickstat'], /Unknown data set 'quickstat'\. Did you mean 'quickstart'/],
    [['train', '--strategy=acumulate'], /Unknown strategy 'acumulate'\. Did you mean 'accumulate'/],
    [['train', '--accelerator=wsam'], /Unknown accelerator 'wsam'\. Did you mean 'wasm'/],
    [['train', '--precision=32-ture'], /Unknown precision '32-ture'\. Did you mean '32-true'/],
    [['train', '--model=bloom-tinny'], /Unknown model[^]*'bloom-tinny'[^]*Did you mean 'bloom-tiny'/],
    [['train', '--devices=2'], /--devices=2[^]*--strategy=accumulate/],
    [['train', '--compile', '--accelerator=cpu'], /'cpu' has no compiler[^]*--compile/],
    [['train', '--preset=blog-accumulate', '--accelerator=cpu'], /16-mixed/],
    [['train', '--accelerator=cpu', '--precision=16-mixed'], /16-mixed[^]*cpu/],
    [['train', '--config=none.yaml'], /Cannot read the configuration file none\.yaml/],
    [['train', '--resume=none'], /none is not a run folder/],
    [['evaluate'], /required option '--model/],
    [['predict', '--model=bloom-tiny', 'x'], /bloom-tiny is a preset/],
  ])('%j', async (args, message) => {
    const { code, stderr } = await place.run(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('TENSORLOOM_DEBUG=1 shows the stack', async () => {
    const { stderr } = await place.run(['train', '--data=quickstat'], { env: { TENSORLOOM_DEBUG: '1' } });
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

test('a run that fails before it trains leaves no folder', async () => {
  await place.run(['train', '--accelerator=cpu', '--data=jsonl', '--data-path=none.jsonl', '--output-dir=untouched']);
  await place.run(['train', '--strategy=acumulate', '--output-dir=untouched']);
  expect(readdirSync(place.path()).includes('untouched') ? readdirSync(place.path('untouched')) : []).toEqual([]);
});

test('a model of the hub that is not in the cache and cannot be asked for ends with exit code 1', async () => {
  const { code, stderr } = await place.run(['train', '--model=bigscience/bloom-560m', '--accelerator=cpu']);
  expect(stderr).toMatch(/bigscience\/bloom-560m is not in the cache/);
  expect(code).toBe(1);
});

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { presetNames } from '../presets.ts';
import { namedOptions, resolveConfig } from './resolve.ts';
import { flagName, keyOfFlag, optionForm, optionKeys, type PartialRunConfig } from './schema.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tensorloom-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (text: string): string => {
  const path = join(folder, 'run.yaml');
  writeFileSync(path, text);
  return path;
};
const withFlags = (flags: PartialRunConfig) => resolveConfig({ flags });

describe('precedence', () => {
  test('without anything: quickstart, accumulate, and the recipe for it', () => {
    const { config, origins, recipe } = withFlags({});
    expect(config).toMatchObject({
      data: 'quickstart',
      strategy: 'accumulate',
      accelerator: 'auto',
      precision: '32-true',
      seed: 123,
    });
    expect(origins.data).toBe('default');
    expect(origins.lr).toBe('recipe');
    expect(recipe).toMatch(/quickstart/);
  });

  test('a preset wins over the recipe, a file over the preset, a flag over the file', () => {
    const configFile = write('lr: 1.0e-4\naccumulate: 4\nmicro-batch-size: 2\n');
    const { config, origins } = resolveConfig({ preset: 'blog-accumulate', configFile, flags: { accumulate: 8 } });
    expect(config).toMatchObject({
      model: 'bigscience/bloom-560m',
      precision: '16-mixed',
      lr: 1e-4,
      microBatchSize: 2,
      accumulate: 8,
    });
    expect(origins).toMatchObject({
      maxLength: 'preset blog-accumulate',
      lr: configFile,
      accumulate: 'command line',
      evalBatchSize: 'recipe',
    });
  });

  test("the presets are the blog's three runs", () => {
    expect(presetNames).toEqual(['blog-batch-size-1', 'blog-accumulate', 'blog-compile']);
    const runs = presetNames.map((preset) => resolveConfig({ preset, flags: {} }).config);
    expect(runs.map((run) => [run.accumulate, run.compile])).toEqual([
      [1, false],
      [16, false],
      [16, true],
    ]);
    for (const run of runs)
      expect(run).toMatchObject({
        data: 'imdb',
        split: 'blog',
        lr: 5e-5,
        epochs: 1,
        microBatchSize: 1,
        maxLength: 1024,
        seed: 123,
        precision: '16-mixed',
      });
  });

  test('the recipe follows the model and the data', () => {
    expect(withFlags({ data: 'imdb' }).config).toMatchObject({
      model: 'bloom-tiny',
      microBatchSize: 8,
      accumulate: 2,
      lr: 2e-3,
      warmupSteps: 200,
      maxLength: 256,
    });
    expect(withFlags({ data: 'imdb', model: 'bigscience/bloom-560m' }).config).toMatchObject({
      microBatchSize: 1,
      accumulate: 16,
      lr: 5e-5,
    });
    const own = withFlags({ data: 'jsonl', dataPath: 'x.jsonl' });
    expect(own.recipe).toMatch(/^your own data, .* not tuned on yours$/);
    expect(own.config).toMatchObject({ model: 'bloom-tiny', maxLength: 64, lr: 2e-3 });
    expect(withFlags({ model: folder }).recipe).toMatch(/pretrained/);
  });

  test('strategy single does not accumulate', () => {
    expect(withFlags({ strategy: 'single' }).config.accumulate).toBe(1);
  });

  test('the resolved options, written as YAML names, give the same configuration again', () => {
    const first = withFlags({ lr: 3e-4, clipNorm: 1 }).config;
    const configFile = write(JSON.stringify(namedOptions(first)));
    expect(parse(JSON.stringify(namedOptions(first)))).toHaveProperty('micro-batch-size');
    expect(resolveConfig({ configFile, flags: {} }).config).toEqual(first);
  });
});

describe('configuration files', () => {
  const read = (text: string) => () => resolveConfig({ configFile: write(text), flags: {} });

  test('an unknown key is refused with the nearest option', () => {
    expect(read('micro-batchsize: 1')).toThrow(
      /Unknown option 'micro-batchsize' in .*run\.yaml\. Did you mean 'micro-batch-size'\?/,
    );
  });
  test('a value of the wrong kind is refused, naming option and value', () => {
    expect(read('lr: fast')).toThrow(/--lr: 'fast' in .*run\.yaml is not valid: .*number/);
    expect(read('epochs: 1.5')).toThrow(/--epochs: 1\.5/);
    expect(read('schedule: linaer')).toThrow(/one of constant, linear, cosine\. Did you mean 'linear'\?/);
  });
  test('both spellings of one option in one file are refused', () => {
    expect(read('micro-batch-size: 1\nmicroBatchSize: 2')).toThrow(/given twice/);
  });
  test('aliases that multiply without measure are refused', () => {
    const bomb = ['a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]'];
    for (const [before, name] of ['ab', 'bc', 'cd', 'de'])
      bomb.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(', ')}]`);
    expect(read(bomb.join('\n'))).toThrow(/not valid YAML: .*alias/);
  });
  test('an empty file gives nothing; a list, broken YAML and a missing file are refused', () => {
    expect(read('')).not.toThrow();
    expect(read('- lr')).toThrow(/must be a mapping/);
    expect(read('lr: [1')).toThrow(/not valid YAML/);
    expect(read('lr: *zz')).toThrow(/run\.yaml is not valid YAML: .*zz/);
    expect(() => resolveConfig({ configFile: join(folder, 'none.yaml'), flags: {} })).toThrow(
      /Cannot read the configuration file .*none\.yaml/,
    );
  });
});

describe('options that exclude each other are named', () => {
  test.each<[PartialRunConfig, RegExp]>([
    [
      { devices: 2, strategy: 'accumulate' },
      /2 ranks, but --strategy=accumulate runs on one device. Choose --strategy=ddp/,
    ],
    [{ strategy: 'single', accumulate: 4 }, /--accumulate=4 needs --strategy=accumulate/],
    [{ clipNorm: 1, clipValue: 1 }, /--clip-norm=1 and --clip-value=1/],
    [{ momentum: 0.5 }, /--momentum=0.5 is for --optimizer=sgd/],
    [{ hiddenSize: 32, model: 'bigscience/bloom-560m' }, /--hidden-size=32 .* --model=bigscience\/bloom-560m/],
    [{ data: 'jsonl' }, /--data=jsonl needs --data-path/],
    [{ dataPath: 'x.jsonl' }, /--data-path=x\.jsonl is not used by --data=quickstart/],
    [{ textField: 'body' }, /--text-field=body is for --data=jsonl/],
    [{ split: 'standard' }, /--split=standard is for --data=imdb/],
  ])('%j', (flags, message) => {
    expect(() => withFlags(flags)).toThrow(message);
  });
});

describe('the schema', () => {
  test('flag names and keys map one to one', () => {
    expect(flagName('checkpointEveryMicroBatches')).toBe('checkpoint-every-micro-batches');
    for (const key of optionKeys) expect(keyOfFlag(flagName(key))).toBe(key);
  });
  test('every option has a help text and a form', () => {
    for (const key of optionKeys) expect(optionForm(key).help.length, key).toBeGreaterThan(5);
    expect(optionForm('lr').kind).toBe('number');
    expect(optionForm('bucketing').kind).toBe('switch');
    expect(optionForm('clipNorm').kind).toBe('number');
    expect(optionForm('paddingSide')).toMatchObject({ kind: 'choice', choices: ['left', 'right'] });
  });
  test('no flag has a name that Nx keeps for itself', () => {
    const swallowed =
      'parallel env color verbose batch version runner graph args cwd tty prod configuration c project target skip-nx-cache nx-bail tui exclude output-style help command commands envFile readyWhen'.split(
        ' ',
      );
    expect(optionKeys.map(flagName).filter((flag) => swallowed.includes(flag))).toEqual([]);
  });
});

test('README.md has a row for every flag', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  for (const key of optionKeys) expect(readme, key).toMatch(new RegExp(`^\\| \`--${flagName(key)}[=\`]`, 'm'));
});

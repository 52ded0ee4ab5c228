import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { resolveConfig } from '../config/resolve.ts';
import type { PartialRunConfig } from '../config/schema.ts';
import { checkpointName, listCheckpoints, removeOldCheckpoints } from './checkpoints.ts';
import { formatAccuracy, formatBytes, formatCount, formatDuration } from './format.ts';
import { MetricsFile } from './metrics-file.ts';
import { createProgress } from './progress.ts';
import { openRun } from './resume.ts';
import { createRunFolder } from './run-folder.ts';
import { TrainingState } from './training-state.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tensorloom-run-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const createRun = (flags: PartialRunConfig = {}) =>
  createRunFolder(resolveConfig({ flags: { outputDir: folder, ...flags } }), new Date(2026, 0, 2, 3, 4, 5));

describe('run folder', () => {
  test('is named by the time, or as asked, and holds the resolved options as YAML and JSON', () => {
    const run = createRun();
    expect(run.path).toBe(join(folder, '2026-01-02_03-04-05'));
    expect(createRun().path).toBe(join(folder, '2026-01-02_03-04-05-2'));
    expect(createRun({ runName: 'mine' }).path).toBe(join(folder, 'mine'));
    expect(readdirSync(run.path).sort()).toEqual(['checkpoints', 'config.json', 'config.yaml']);
    expect(readFileSync(run.configYaml, 'utf8')).toContain('micro-batch-size: 8');
    expect(JSON.parse(readFileSync(run.configJson, 'utf8'))).toMatchObject({
      options: { data: 'quickstart' },
      origins: { data: 'default' },
    });
  });
  test('with a name that is taken is refused, and says how to go on with it', () => {
    createRun({ runName: 'mine' });
    expect(() => createRun({ runName: 'mine' })).toThrow(/mine exists already\. Go on with it by --resume=/);
  });
  test('that cannot be made is refused', () => {
    writeFileSync(join(folder, 'file'), '');
    expect(() => createRun({ outputDir: join(folder, 'file') })).toThrow(/Cannot write the run folder .*--output-dir/);
  });
});

describe('checkpoints', () => {
  const make = (...names: string[]): void => names.forEach((name) => mkdirSync(join(folder, name)));

  test('the newest is the one with the most micro-batches; unfinished and foreign folders do not count', () => {
    make(
      checkpointName(9, 36),
      checkpointName(10, 37),
      checkpointName(100, 400),
      '.step-000200-micro-batch-000800.incomplete',
      'notes',
    );
    expect(listCheckpoints(folder).map((path) => path.slice(folder.length + 1))).toEqual([
      'step-000100-micro-batch-000400',
      'step-000010-micro-batch-000037',
      'step-000009-micro-batch-000036',
    ]);
    expect(listCheckpoints(join(folder, 'none'))).toEqual([]);
  });
  test('only the newest are kept', () => {
    make(checkpointName(1, 4), checkpointName(2, 8), checkpointName(3, 12), 'notes');
    removeOldCheckpoints(folder, 2);
    expect(readdirSync(folder).sort()).toEqual(['notes', checkpointName(2, 8), checkpointName(3, 12)]);
  });
});

describe('resume', () => {
  const recorded = (flags: PartialRunConfig = {}) => {
    const run = createRun(flags);
    mkdirSync(join(run.checkpoints, checkpointName(2, 8)));
    return run;
  };

  test('has the recorded options and the newest checkpoint', () => {
    const run = recorded({ lr: 3e-4 });
    const opened = openRun(run.path, { flags: {} });
    expect(opened.resolved.config).toMatchObject({ lr: 3e-4, data: 'quickstart' });
    expect(opened.checkpoints).toEqual([join(run.checkpoints, checkpointName(2, 8))]);
  });
  test('refuses every option that would make it another run, by name, and says what was recorded', () => {
    const run = recorded();
    expect(() => openRun(run.path, { flags: { lr: 1, seed: 5, dropout: 0.5 } })).toThrow(
      /--dropout=0\.5 \(recorded: unset\); --lr=1 \(recorded: .*\); --seed=5 \(recorded: 123\)/,
    );
  });
  test('allows options that change no result, and those that are as recorded', () => {
    const run = recorded();
    expect(openRun(run.path, { flags: { logEvery: 1, checkpointEvery: 7, seed: 123 } }).resolved.config).toMatchObject({
      logEvery: 1,
      checkpointEvery: 7,
    });
  });
  test('allows a longer run only where the learning rate does not depend on its length', () => {
    expect(openRun(recorded({ schedule: 'constant' }).path, { flags: { maxSteps: 9 } }).resolved.config.maxSteps).toBe(
      9,
    );
    expect(() => openRun(recorded({ schedule: 'linear' }).path, { flags: { maxSteps: 9 } })).toThrow(
      /--max-steps=9 .*--schedule=linear depends on it/,
    );
  });
  test('refuses a folder that is no run, and a run without a checkpoint', () => {
    expect(() => openRun(folder, { flags: {} })).toThrow(/is not a run folder/);
    expect(() => openRun(createRun().path, { flags: {} })).toThrow(/no complete checkpoint/);
    const broken = createRun();
    writeFileSync(broken.configJson, '{');
    expect(() => openRun(broken.path, { flags: {} })).toThrow(/config\.json cannot be read/);
  });
});

describe('metrics.csv', () => {
  test('has the same columns in every row', () => {
    const path = join(folder, 'metrics.csv');
    const file = new MetricsFile(path, { keepUpToMicroBatches: 0 });
    file.write({ micro_batch: 1, loss: 0.5 });
    file.write({ micro_batch: 2, validation_accuracy: 0.75 });
    expect(readFileSync(path, 'utf8').split('\n')).toEqual([
      'micro_batch,step,epoch,loss,lr,train_accuracy,validation_accuracy,tokens,tokens_per_second,memory_bytes',
      '1,,,0.5,,,,,,',
      '2,,,,,,0.75,,,',
      '',
    ]);
  });
  test('of a run that is resumed loses the rows that will come again', () => {
    const path = join(folder, 'metrics.csv');
    const file = new MetricsFile(path, { keepUpToMicroBatches: 0 });
    for (const micro_batch of [10, 20, 30]) file.write({ micro_batch });
    new MetricsFile(path, { keepUpToMicroBatches: 20 });
    expect(
      readFileSync(path, 'utf8')
        .split('\n')
        .map((line) => line.split(',')[0]),
    ).toEqual(['micro_batch', '10', '20', '']);
  });
});

describe('training state', () => {
  test('weighs the loss by items and counts the accuracy of the epoch', () => {
    const state = new TrainingState();
    state.count({ loss: 1, items: 3, tokens: 30, correct: 3, seconds: 1 });
    state.count({ loss: 2, items: 1, tokens: 10, correct: 0, seconds: 1 });
    expect(state).toMatchObject({
      microBatches: 2,
      items: 4,
      tokens: 40,
      meanLoss: 1.25,
      trainAccuracy: 0.75,
      tokensPerSecond: 20,
    });
    state.closeLogWindow();
    state.closeEpoch();
    expect(state).toMatchObject({
      epoch: 1,
      firstLoss: 1.25,
      lastLoss: 1.25,
      meanLoss: 0,
      trainAccuracy: 0.75,
      seen: 0,
    });
  });
  test('comes back from JSON exactly', () => {
    const state = new TrainingState();
    state.count({ loss: 1 / 3, items: 7, tokens: 9, correct: 2, seconds: 0.1 });
    state.validations.push({ step: 1, correct: 2, total: 3, accuracy: 2 / 3 });
    expect(TrainingState.fromJson(state.toJson())).toEqual(state);
  });
});

describe('progress without a terminal', () => {
  test('is plain lines; quiet is silent', () => {
    const written: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => (written.push(String(text)), true));
    const figures = {
      epoch: 0,
      epochs: 2,
      microBatches: 300,
      totalMicroBatches: 900,
      step: 150,
      loss: 0.5,
      lr: 1e-3,
      tokensPerSecond: 1234,
      memoryBytes: 2 ** 30,
      secondsLeft: 75,
    };
    for (const quiet of [true, false]) {
      const progress = createProgress({ quiet, terminal: false });
      progress.training(figures);
      progress.log(figures);
      progress.stop();
    }
    expect(written).toEqual([
      'epoch 1/2 | micro-batch 300/900 | step 150 | loss 0.5000 | lr 0.00100 | 1,234 tokens/s | memory 1.0 GiB | ETA 1 min 15 s\n',
    ]);
  });
});

test('figures are written as people read them', () => {
  expect([formatBytes(512), formatBytes(1536), formatBytes(300 * 2 ** 30)]).toEqual(['512 B', '1.5 KiB', '300 GiB']);
  expect([formatDuration(42), formatDuration(185), formatDuration(7620)]).toEqual(['42 s', '3 min 05 s', '2 h 07 min']);
  expect([formatCount(1234567), formatAccuracy(0.8564)]).toEqual(['1,234,567', '85.64 %']);
});

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CheckpointFolderIO } from '@tensorloom/core';
import { resolveConfig } from '../config/resolve.ts';
import type { PartialRunConfig } from '../config/schema.ts';
import { checkpointName, microBatchesOf, newestWholeCheckpoint } from './checkpoints.ts';
import { createRunFolder } from './create-run-folder.ts';
import { isFinished } from './finished.ts';
import { formatAccuracy, formatBytes, formatCount, formatDuration } from './format.ts';
import { createProgress } from './progress.ts';
import { openRun } from './resume.ts';
import { RunFolder } from './run-folder.ts';
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
  test('is named by the time, or as asked, and holds the resolved options as YAML and JSON', async () => {
    const run = await createRun();
    expect(run.path).toBe(join(folder, '2026-01-02_03-04-05'));
    expect((await createRun()).path).toBe(join(folder, '2026-01-02_03-04-05-2'));
    expect((await createRun({ runName: 'mine' })).path).toBe(join(folder, 'mine'));
    expect(readdirSync(run.path).sort()).toEqual(['checkpoints', 'config.json', 'config.yaml']);
    expect(readFileSync(run.configYaml, 'utf8')).toContain('micro-batch-size: 8');
    expect(JSON.parse(readFileSync(run.configJson, 'utf8'))).toMatchObject({
      options: { data: 'quickstart' },
      origins: { data: 'default' },
    });
  });
  test('with a name that is taken is refused, and says how to go on with it', async () => {
    await createRun({ runName: 'mine' });
    await expect(createRun({ runName: 'mine' })).rejects.toThrow(/mine exists already\. Go on with it by --resume=/);
  });
  test('that cannot be made is refused', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(createRun({ outputDir: join(folder, 'file') })).rejects.toThrow(
      /Cannot write the run folder .*--output-dir/,
    );
  });
});

describe('the newest whole checkpoint', () => {
  const save = async (run: RunFolder, step: number, microBatches: number): Promise<string> => {
    const path = join(run.checkpoints, checkpointName(step, microBatches));
    await new CheckpointFolderIO().saveCheckpoint(path, { statefuls: {}, values: { step } });
    return path;
  };
  const said: string[] = [];
  const newest = (run: RunFolder): Promise<string> =>
    newestWholeCheckpoint(run, { line: (text) => void said.push(text) });

  test('is the one with the most micro-batches, which its name tells', async () => {
    const run = new RunFolder(folder);
    await save(run, 9, 36);
    const path = await save(run, 100, 400);
    await save(run, 10, 37);
    expect(await newest(run)).toBe(path);
    expect(microBatchesOf(path)).toBe(400);
  });
  test('is not one that is unfinished; without any, the run cannot go on', async () => {
    const run = new RunFolder(folder);
    mkdirSync(join(run.checkpoints, checkpointName(2, 8)), { recursive: true });
    await expect(newest(run)).rejects.toThrow(/no complete checkpoint to go on from/);
  });
});

describe('resume', () => {
  test('has the recorded options', async () => {
    const run = await createRun({ lr: 3e-4 });
    expect(openRun(run.path, { flags: {} }).resolved.config).toMatchObject({ lr: 3e-4, data: 'quickstart' });
  });
  test('refuses every option that would make it another run, by name, and says what was recorded', async () => {
    const run = await createRun();
    expect(() => openRun(run.path, { flags: { lr: 1, seed: 5, dropout: 0.5 } })).toThrow(
      /--dropout=0\.5 \(recorded: unset\); --lr=1 \(recorded: .*\); --seed=5 \(recorded: 123\)/,
    );
  });
  test('allows options that change no result, and those that are as recorded', async () => {
    const run = await createRun();
    expect(openRun(run.path, { flags: { logEvery: 1, checkpointEvery: 7, seed: 123 } }).resolved.config).toMatchObject({
      logEvery: 1,
      checkpointEvery: 7,
    });
  });
  test('allows a longer run only where the learning rate does not depend on its length', async () => {
    const constant = await createRun({ schedule: 'constant' });
    expect(openRun(constant.path, { flags: { maxSteps: 9 } }).resolved.config.maxSteps).toBe(9);
    const linear = await createRun({ schedule: 'linear' });
    expect(() => openRun(linear.path, { flags: { maxSteps: 9 } })).toThrow(
      /--max-steps=9 .*--schedule=linear depends on it/,
    );
  });
  test('refuses a folder that is no run', async () => {
    expect(() => openRun(folder, { flags: {} })).toThrow(/is not a run folder/);
    const broken = await createRun();
    writeFileSync(broken.configJson, '{');
    expect(() => openRun(broken.path, { flags: {} })).toThrow(/config\.json cannot be read/);
  });
  test('refuses recorded options that are not whole, by name', async () => {
    const run = await createRun();
    writeFileSync(run.configJson, '{"options": {"lr": 1}}');
    expect(() => openRun(run.path, { flags: {} })).toThrow(
      /config\.json is not the whole .*: .*micro-batch-size.* missing/,
    );
  });
  test('has nothing to do where model and summary are there, unless a longer run is asked for', async () => {
    const run = await createRun({ epochs: 2 });
    writeFileSync(run.summary, JSON.stringify({ steps: 30, epochs: 2 }));
    expect(isFinished(run, { epochs: 2 })).toBe(false);
    mkdirSync(run.model);
    expect(isFinished(run, { epochs: 2 })).toBe(true);
    expect(isFinished(run, { epochs: 3 })).toBe(false);
    expect(isFinished(run, { epochs: 3, maxSteps: 30 })).toBe(true);
    expect(isFinished(run, { epochs: 3, maxSteps: 31 })).toBe(false);
    writeFileSync(run.summary, '{');
    expect(isFinished(run, { epochs: 2 })).toBe(false);
  });
});

describe('training state', () => {
  test('weighs the loss by items and counts the accuracy of the epoch', () => {
    const state = new TrainingState();
    state.count({ loss: 1, items: 3, tokens: 30, correct: 3, seconds: 1, microBatches: 1 });
    state.count({ loss: 2, items: 1, tokens: 10, correct: 0, seconds: 1, microBatches: 2 });
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
  test('of several ranks is common after each gathering, and adds up exactly in whatever parts', async () => {
    const micro = { loss: 1 / 3, items: 7, tokens: 9, correct: 2, seconds: 1 };
    const totals = async (gatherings: readonly number[]): Promise<TrainingState> => {
      const state = new TrainingState(2);
      // Two ranks that count alike.
      const fabric = { allReduce: async <T>(sums: T) => twice(sums as Record<string, number>) as T };
      for (let i = 1; i <= 5; i++) {
        state.count({ ...micro, microBatches: 2 * i });
        if (gatherings.includes(i)) await state.gather(fabric as never);
      }
      return state;
    };
    expect(await totals([])).toMatchObject({ items: 0, microBatches: 10, meanLoss: expect.closeTo(1 / 3, 6) });
    const once = await totals([5]);
    expect(once).toMatchObject({ items: 70, tokens: 90, correct: 20, trainingSeconds: 5, trainAccuracy: 2 / 7 });
    expect((await totals([1, 2, 4, 5])).toJson()).toEqual(once.toJson());
  });
  test('of several ranks has a speed before the first gathering too', async () => {
    const state = new TrainingState(2);
    state.count({ loss: 1, items: 2, tokens: 30, correct: 1, seconds: 2, microBatches: 2 });
    expect(state).toMatchObject({ tokensPerSecond: 30, elapsedTrainingSeconds: 2, trainingSeconds: 0 });
    await state.gather({
      allReduce: async (sums) =>
        Object.fromEntries(Object.entries(sums).map(([key, sum]) => [key, (sum as number) * 2])) as never,
    });
    expect(state).toMatchObject({ tokensPerSecond: 30, elapsedTrainingSeconds: 2, tokens: 60 });
    state.count({ loss: 1, items: 2, tokens: 10, correct: 1, seconds: 2, microBatches: 4 });
    expect(state).toMatchObject({ tokensPerSecond: 20, elapsedTrainingSeconds: 4, tokens: 60 });
  });

  test('comes back from JSON exactly', () => {
    const state = new TrainingState();
    state.count({ loss: 1 / 3, items: 7, tokens: 9, correct: 2, seconds: 0.1, microBatches: 1 });
    state.validations.push({ step: 1, correct: 2, total: 3, accuracy: 2 / 3 });
    expect(TrainingState.fromJson(state.toJson())).toEqual(state);
  });
});

describe('progress without a terminal', () => {
  const capture = (): string[] => {
    const written: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => (written.push(String(text)), true));
    return written;
  };

  test('tells of counted work twice a minute, and not at all where it is done sooner', () => {
    const written = capture();
    const now = vi.spyOn(Date, 'now');
    const progress = createProgress({ quiet: false, terminal: false });
    for (const second of [0, 29, 31, 32, 62]) {
      now.mockReturnValue(second * 1000);
      progress.counting('evaluating test', second * 100, 10_000);
    }
    progress.stop();
    now.mockReturnValue(100_000);
    progress.counting('evaluating test', 100, 10_000);
    expect(written).toEqual(['evaluating test: 3,100 of 10,000\n', 'evaluating test: 6,200 of 10,000\n']);
  });

  test('is plain lines; quiet is silent', () => {
    const written = capture();
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

function twice(sums: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(sums).map(([name, value]) => [name, 2 * value]));
}

import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { CsvLogger } from './csv-logger.ts';

const root = mkdtempSync(join(tmpdir(), 'tensorloom-csv-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(root, String(count++));
});

const rows = (): string[] => readFileSync(join(folder, 'metrics.csv'), 'utf8').trimEnd().split('\n');

describe('CsvLogger', () => {
  it('makes version_0, version_1, …, or takes an exact folder', () => {
    const versions = [0, 1].map(() => {
      const logger = new CsvLogger({ rootFolder: folder });
      logger.logMetrics({ loss: 1 }, 0);
      return logger.folder;
    });
    expect(versions).toEqual(['version_0', 'version_1'].map((version) => join(folder, 'logs', version)));
    expect(new CsvLogger({ rootFolder: folder, name: 'other', version: 7 }).folder).toBe(
      join(folder, 'other', 'version_7'),
    );
    expect(new CsvLogger({ folder }).folder).toBe(folder);
  });

  it('writes a row per step, and grows the header when new names come', () => {
    const logger = new CsvLogger({ folder });
    logger.logMetrics({ loss: 0.5 }, 1);
    logger.logMetrics({ loss: 0.25, 'val, "x"': Number.NaN }, 2);
    logger.logMetrics({ lr: 1e-7 }, 3);
    expect(rows()).toEqual(['step,loss,"val, ""x""",lr', '1,0.5,,', '2,0.25,NaN,', '3,,,1e-7']);
    expect(readdirSync(folder)).toEqual(['metrics.csv']);
  });

  it('joins metrics of the same step in one row', () => {
    const logger = new CsvLogger({ folder });
    logger.logMetrics({ loss: 1, lr: 2 }, 1);
    logger.logMetrics({ loss: 1 }, 2);
    logger.logMetrics({ lr: 3 }, 2);
    logger.logMetrics({ accuracy: 4 }, 2);
    logger.logMetrics({ loss: 5 }, 3);
    expect(rows()).toEqual(['step,loss,lr,accuracy', '1,1,2,', '2,1,3,4', '3,5,,']);
  });

  it('goes on after a resume without rows past the resumed step, nor a torn last line', () => {
    const first = new CsvLogger({ folder });
    for (const step of [1, 2, 3, 4]) first.logMetrics({ loss: step }, step);
    appendFileSync(join(folder, 'metrics.csv'), '5,0.');
    const second = new CsvLogger({ folder, resumeAtStep: 2 });
    second.logMetrics({ loss: 33 }, 3);
    expect(rows()).toEqual(['step,loss', '1,1', '2,2', '3,33']);
    new CsvLogger({ folder }).logMetrics({ accuracy: 1 }, 4);
    expect(rows()).toEqual(['step,loss,accuracy', '1,1,', '2,2,', '3,33,', '4,,1']);
  });

  it('joins the last row that is kept, rather than writing its step twice', () => {
    const first = new CsvLogger({ folder });
    for (const step of [1, 2, 3]) first.logMetrics({ loss: step, accuracy: 0.5 }, step);
    const second = new CsvLogger({ folder, resumeAtStep: 2 });
    second.logMetrics({ accuracy: 0.75 }, 2);
    second.logMetrics({ loss: 33 }, 3);
    expect(rows()).toEqual(['step,loss,accuracy', '1,1,0.5', '2,2,0.75', '3,33,']);
  });

  it('counts what the caller counts', () => {
    const logger = new CsvLogger({ folder, stepColumn: 'micro_batch' });
    logger.logMetrics({ step: 1, loss: 0.5 }, 16);
    expect(rows()).toEqual(['micro_batch,step,loss', '16,1,0.5']);
    new CsvLogger({ folder, stepColumn: 'micro_batch', resumeAtStep: 0 }).open();
    expect(rows()).toEqual(['micro_batch,step,loss']);
  });

  it('refuses a file that is not its own, a folder that cannot be, and the name of its own column', () => {
    const logger = new CsvLogger({ folder });
    expect(() => logger.logMetrics({ step: 1 }, 1)).toThrow(expect.objectContaining({ code: 'MISUSE' }));
    logger.open();
    writeFileSync(join(folder, 'metrics.csv'), 'a,b\n1,2\n');
    expect(() => new CsvLogger({ folder }).open()).toThrow(expect.objectContaining({ code: 'BAD_FILE' }));
    expect(() => new CsvLogger({ folder: join(folder, 'metrics.csv', 'inside') }).open()).toThrow(
      expect.objectContaining({ code: 'IO', message: expect.stringMatching(/cannot write/) }),
    );
  });

  it('leaves alone what another rank logs to, until it logs itself', () => {
    const logging = new CsvLogger({ folder });
    logging.logMetrics({ loss: 1 }, 5);
    new CsvLogger({ folder, resumeAtStep: 2 });
    new CsvLogger({ rootFolder: folder });
    logging.logMetrics({ loss: 2 }, 6);
    expect(rows()).toEqual(['step,loss', '5,1', '6,2']);
    expect(readdirSync(folder)).toEqual(['metrics.csv']);
  });

  it('keeps hyper-parameters beside', () => {
    const logger = new CsvLogger({ folder });
    logger.logHyperparameters({ lr: 0.1, model: { layers: 2 } });
    expect(JSON.parse(readFileSync(join(folder, 'hyperparameters.json'), 'utf8'))).toEqual({
      lr: 0.1,
      model: { layers: 2 },
    });
    expect(existsSync(join(folder, 'metrics.csv'))).toBe(false);
  });
});

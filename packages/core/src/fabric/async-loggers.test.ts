import { expect, it } from 'vitest';
import type { Logger } from '../loggers/logger.ts';
import { adam, launched, LinearRegression, regressionBatches } from './fabric.testing.ts';

const soon = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Fails the logs of the steps given. An unhandled rejection would fail this whole file. */
function flaky(...failing: number[]): Logger & { readonly written: number[] } {
  const written: number[] = [];
  return {
    name: 'remote',
    written,
    async logMetrics(_metrics, step) {
      await soon();
      if (failing.includes(step)) throw new Error(`no route (step ${step})`);
      written.push(step);
    },
  };
}

const failure = { code: 'IO', message: expect.stringMatching(/'remote' failed: no route \(step 1\)/) as string };

it('a failed log comes up at the next log, once', async () => {
  const logger = flaky(1, 2);
  const fabric = await launched({ loggers: logger });
  fabric.log('loss', 1, 1);
  fabric.log('loss', 1, 2);
  await soon();
  await soon();
  expect(() => fabric.log('loss', 1, 3)).toThrow(expect.objectContaining(failure));
  fabric.log('loss', 1, 4);
  await fabric.flushLogs();
  expect(logger.written).toEqual([4]);
});

it('a failed log comes up at the next step, which is not taken then', async () => {
  const fabric = await launched({ loggers: flaky(1) });
  const [model, optimizer] = await fabric.setup(new LinearRegression(), adam());
  const batch = fabric.toDevice(regressionBatches(1)[0]!);
  await fabric.backward(model, () => model.forward(batch));
  fabric.log('loss', 1, 1);
  await soon();
  await soon();
  await expect(fabric.step(optimizer)).rejects.toMatchObject(failure);
  expect(await fabric.step(optimizer)).toBe(true);
  expect(fabric.counts.steps).toBe(1);
});

it('flushLogs waits for what is on its way and for the loggers, and tells of failures', async () => {
  const logger = flaky(1);
  const flushed: string[] = [];
  const buffered: Logger = {
    name: 'buffered',
    logMetrics: () => {},
    flush: async () => {
      await soon();
      flushed.push('buffered');
    },
  };
  const fabric = await launched({ loggers: [logger, buffered] });
  fabric.log('loss', 1, 0);
  fabric.log('loss', 1, 1);
  await expect(fabric.flushLogs()).rejects.toMatchObject(failure);
  expect(logger.written).toEqual([0]);
  expect(flushed).toEqual(['buffered']);
  await fabric.flushLogs();
});

it('a log that fails at once is an error of that call', async () => {
  const full = (): never => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  };
  const fabric = await launched({ loggers: { name: 'disk', logMetrics: full } });
  expect(() => fabric.log('loss', 1)).toThrow(
    expect.objectContaining({ code: 'IO', message: expect.stringMatching(/'disk' failed: ENOSPC/) as string }),
  );
});

import { describe, expect, it } from 'vitest';
import { ThroughputMonitor } from './throughput-monitor.ts';
import { Throughput } from './throughput.ts';

describe('Throughput', () => {
  it('gives rates over its window only', () => {
    const throughput = new Throughput({ windowSize: 2 });
    expect(throughput.compute()).toEqual({ seconds: 0, batches: 0, samples: 0 });
    throughput.update({ seconds: 100, batches: 1, samples: 8, items: 80, flops: 1000 });
    expect(throughput.compute()).toEqual({ seconds: 100, batches: 1, samples: 8 });
    for (const step of [1, 2, 3])
      throughput.update({
        seconds: 100 + step * 0.5,
        batches: 1 + step,
        samples: 8 + step * 4,
        items: 80 + step * 40,
        flops: 1000 * (1 + step),
      });
    expect(throughput.compute()).toEqual({
      seconds: 101.5,
      batches: 4,
      samples: 20,
      batchesPerSecond: 2,
      samplesPerSecond: 8,
      itemsPerSecond: 80,
      flopsPerSecond: 2000,
    });
    throughput.reset();
    expect(throughput.compute().samplesPerSecond).toBeUndefined();
  });

  it('gives utilization of a peak, and totals over ranks', () => {
    const throughput = new Throughput({ worldSize: 4, peakFlopsPerSecond: 1e4 });
    throughput.update({ seconds: 0, batches: 0, samples: 0, flops: 0 });
    throughput.update({ seconds: 2, batches: 4, samples: 8, flops: 8000 });
    expect(throughput.compute()).toMatchObject({
      samplesPerSecond: 4,
      totalSamplesPerSecond: 16,
      flopsPerSecond: 4000,
      totalFlopsPerSecond: 16000,
      modelFlopsUtilization: 0.4,
    });
  });

  it('refuses totals that go back, or come and go, and options that make no sense', () => {
    const throughput = new Throughput();
    throughput.update({ seconds: 1, batches: 1, samples: 1 });
    expect(() => throughput.update({ seconds: 0.5, batches: 2, samples: 2 })).toThrow(
      /'seconds' went from 1 back to 0.5/,
    );
    expect(() => throughput.update({ seconds: 2, batches: 2, samples: 2, items: 3 })).toThrow(
      /'items' is given in some updates only/,
    );
    for (const bad of [{ windowSize: 0 }, { worldSize: 1.5 }, { peakFlopsPerSecond: 0 }])
      expect(() => new Throughput(bad)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  });
});

describe('ThroughputMonitor', () => {
  it('counts, logs every so many batches, and leaves pauses out', async () => {
    let now = 10;
    const logged: [string[], number | undefined][] = [];
    const fabric = {
      worldSize: 1,
      logDict: (metrics: object, step?: number) => void logged.push([Object.keys(metrics), step]),
    };
    const monitor = new ThroughputMonitor(fabric, { logEveryBatches: 2, clock: () => now });
    now = 11;
    monitor.batchDone({ samples: 4, items: 100 });
    await monitor.pause(() => {
      now = 1000;
    });
    now = 1001;
    expect(monitor.batchDone({ samples: 4, items: 300 }, 9)).toEqual({
      seconds: 2,
      batches: 2,
      samples: 8,
      batchesPerSecond: 1,
      samplesPerSecond: 4,
      itemsPerSecond: 300,
    });
    expect(logged).toEqual([
      [
        ['seconds', 'batches', 'samples', 'batchesPerSecond', 'samplesPerSecond', 'itemsPerSecond'].map(
          (name) => `throughput/${name}`,
        ),
        9,
      ],
    ]);
  });
});

import { describe, expect, it } from 'vitest';
import { SingleProcessGroup } from '../distributed/single-process-group.ts';
import { TruePrecision } from '../precision/true.ts';
import { SingleDeviceStrategy } from '../strategies/single-device.ts';
import { Fabric } from './fabric.ts';
import { FakeAccelerator } from './fabric.testing.ts';
import type { FabricOptions } from './options.ts';

/** A matcher for a TensorloomError. */
const error = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('options of Fabric', () => {
  const refuse = (options: unknown, code: string, message: RegExp): void => {
    expect(() => new Fabric(options as FabricOptions)).toThrow(error(code, message));
  };

  it('names unknown options, names and bad values', () => {
    refuse({ acelerator: 'cpu' }, 'BAD_OPTION', /unknown option 'acelerator'. Did you mean 'accelerator'\?/);
    refuse({ accelerator: 'gpu' }, 'UNKNOWN_NAME', /Unknown accelerator 'gpu'.*Known: .*wasm/);
    refuse({ strategy: 'singl' }, 'UNKNOWN_NAME', /Unknown strategy 'singl'. Did you mean 'single'/);
    refuse({ precision: '16-mix' }, 'UNKNOWN_NAME', /Unknown precision '16-mix'. Did you mean '16-mixed'/);
    refuse({ devices: 0 }, 'BAD_OPTION', /devices.*number of devices, 'auto' or a list/);
    refuse({ numNodes: 1.5 }, 'BAD_OPTION', /numNodes.*at least 1/);
    refuse({ threads: -1, maxSkippedSteps: 0 }, 'BAD_OPTION', /threads.*maxSkippedSteps/);
    refuse({ plugins: [{}] }, 'BAD_OPTION', /plugin 0 is neither/);
    refuse({ strategyOptions: { accumulate: 4 } }, 'BAD_OPTION', /accumulate/);
  });

  it('names conflicts', () => {
    refuse(
      { strategy: new SingleDeviceStrategy(), strategyOptions: {} },
      'CONFLICTING_OPTIONS',
      /instance \('single'\).*strategyOptions/,
    );
    refuse(
      { precision: '32', plugins: [new TruePrecision('mine', 'float32')] },
      'CONFLICTING_OPTIONS',
      /precision '32'.*plugin 'mine'/,
    );
    refuse(
      { plugins: [new SingleProcessGroup(), new SingleProcessGroup()] },
      'CONFLICTING_OPTIONS',
      /two plugins of kind processGroup/,
    );
    refuse({ devices: 2, strategy: 'single' }, 'CONFLICTING_OPTIONS', /'single' runs on one device, but 2/);
    refuse({ devices: 2 }, 'UNSUPPORTED', /2 ranks, for which strategy 'auto' is 'ddp'.*@tensorloom\/strategies/);
    refuse({ processGroup: new SingleProcessGroup() }, 'BAD_OPTION', /processGroup.*among plugins/);
    refuse({ collectiveTimeoutMs: 0 }, 'BAD_OPTION', /collectiveTimeoutMs.*above 0/);
    refuse(
      { plugins: [new SingleProcessGroup()], processGroupOptions: { port: 1 } },
      'CONFLICTING_OPTIONS',
      /'single' is given as plugin.*processGroupOptions/,
    );
    refuse({ numNodes: 3, strategy: 'single' }, 'CONFLICTING_OPTIONS', /but 3/);
  });

  it('refuses pairs of accelerator and precision that do not exist, and lists those that do', async () => {
    for (const precision of ['16-mixed', 'bf16-mixed', '16-true', 'bf16-true', '64-true', 64, 16, 'bf16'])
      refuse(
        { accelerator: 'wasm', precision },
        'UNSUPPORTED',
        /Accelerator 'wasm' cannot do precision.*Pairs that exist: .*wasm with 32-true/,
      );
    await expect(new Fabric({ precision: '64-true' }).launch()).rejects.toEqual(
      error('UNSUPPORTED', /float64[^]*Pairs that exist/),
    );
    refuse({ accelerator: new FakeAccelerator('mine', ['float32']), precision: 16 }, 'UNSUPPORTED', /'mine'.*float16/);
  });

  it('knows short names of precisions', () => {
    const halves = new FakeAccelerator('halves', ['float16', 'bfloat16', 'float32', 'float64']);
    const names = ([64, '64', 32, 16, 'bf16'] as const).map(
      (precision) => new Fabric({ accelerator: halves, precision }).precision.name,
    );
    expect(names).toEqual(['64-true', '64-true', '32-true', '16-mixed', 'bf16-mixed']);
    expect(new Fabric().precision.name).toBe('32-true');
  });

  it('takes from a launcher what the script left open, and refuses what contradicts', () => {
    const withEnvironment = (variables: Record<string, string>, options: FabricOptions): Fabric => {
      Object.assign(process.env, variables);
      try {
        return new Fabric(options);
      } finally {
        for (const name of Object.keys(variables)) delete process.env[name];
      }
    };
    const halves = new FakeAccelerator('halves', ['float16', 'float32']);
    expect(withEnvironment({ TENSORLOOM_PRECISION: '16' }, { accelerator: halves }).precision.name).toBe('16-mixed');
    expect(
      withEnvironment({ TENSORLOOM_PRECISION: '16' }, { accelerator: halves, precision: '16-mixed' }).precision.name,
    ).toBe('16-mixed');
    expect(() => withEnvironment({ TENSORLOOM_PRECISION: 'bf16' }, { precision: 32 })).toThrow(
      error('CONFLICTING_OPTIONS', /script asks for precision '32'.*TENSORLOOM_PRECISION.*'bf16'/),
    );
    expect(() => withEnvironment({ TENSORLOOM_ACCELERATOR: 'wasm' }, { accelerator: 'cpu' })).toThrow(
      error('CONFLICTING_OPTIONS', /'cpu'.*'wasm'/),
    );
    expect(() => withEnvironment({ TENSORLOOM_DEVICES: 'two' }, {})).toThrow(
      error('BAD_OPTION', /TENSORLOOM_DEVICES is 'two'/),
    );
    expect(() => withEnvironment({ TENSORLOOM_THREADS: '0' }, {})).toThrow(
      error('BAD_OPTION', /TENSORLOOM_THREADS is '0'/),
    );
    expect(() => withEnvironment({ TENSORLOOM_PROCESS_GROUP: 'ws' }, { processGroup: 'shm' })).toThrow(
      error('CONFLICTING_OPTIONS', /processGroup 'shm'.*TENSORLOOM_PROCESS_GROUP.*'ws'/),
    );
    expect(() => withEnvironment({ TENSORLOOM_PROCESS_GROUP: 'wss' }, {})).toThrow(
      error('UNKNOWN_NAME', /Unknown process group 'wss'/),
    );
    expect(() =>
      withEnvironment({ TENSORLOOM_DEVICES: '3' }, { devices: [0, 1], strategy: new SingleDeviceStrategy() }),
    ).toThrow(error('CONFLICTING_OPTIONS', /devices '\[0,1\]'.*'3'/));
    expect(
      withEnvironment({ TENSORLOOM_DEVICES: '1', TENSORLOOM_THREADS: '2' }, { devices: [0], threads: 3 }).worldSize,
    ).toBe(1);
    expect(() => withEnvironment({ TENSORLOOM_STRATEGY: 'nope' }, { strategy: 'auto' })).toThrow(
      error('UNKNOWN_NAME', /'nope'/),
    );
  });
});

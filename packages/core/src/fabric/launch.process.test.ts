import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const packageFolder = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
// Inside the package, so that its own name resolves.
const folder = mkdtempSync(join(packageFolder, '.launch-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A launcher's environment, a process group and a strategy that tell what is done with them. */
const prelude = `
import { clusterEnvironments, Fabric, processGroups, registerRankLauncher, SingleDeviceStrategy, SingleProcessGroup, strategies } from '@tensorloom/core';
import { writeSync } from 'node:fs';
const tell = (line) => writeSync(1, line + '\\n');
class TellingGroup extends SingleProcessGroup {
  name = 'telling'; rank = 1; worldSize = 2;
  abort(reason) { tell('abort: ' + reason); }
  async close() { tell('close'); }
}
class Apart extends SingleDeviceStrategy {
  name = 'apart';
  setup(context) { super.setup({ ...context, processGroup: new SingleProcessGroup() }); }
}
strategies.register('ddp', { create: () => new Apart(), reach: 'multi', summary: '' });
processGroups.register('auto', {
  summary: '',
  unavailable: async () => null,
  create: async ({ environment, options, ...timeouts }) => {
    tell('meet: ' + environment.name + ' ' + JSON.stringify({ options, ...timeouts }));
    return new TellingGroup();
  },
});
clusterEnvironments.register('test', {
  priority: 1, summary: '',
  detect: (variables) => variables.LAUNCH_TEST === undefined ? null : {
    name: 'test launcher', globalRank: 1, localRank: 1, localWorldSize: 2, nodeRank: 0, numNodes: 1, worldSize: 2,
    mainAddress: '127.0.0.1', mainPort: 1, jobId: 'job', token: undefined,
  },
});
`;

interface Ended {
  readonly exitCode: number;
  readonly lines: readonly string[];
  readonly stderr: string;
}

let scripts = 0;
async function run(script: string, variables: Record<string, string> = {}): Promise<Ended> {
  const path = join(folder, `script-${scripts++}.mjs`);
  writeFileSync(path, prelude + script);
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--conditions=@tensorloom/source', '--import', 'tsx', path],
      { env: { ...process.env, ...variables }, timeout: 60_000 },
      (error, stdout, stderr) =>
        resolve({
          exitCode: error === null ? 0 : Number(error.code),
          lines: stdout.split('\n').filter((line) => line !== ''),
          stderr,
        }),
    );
  });
}

const asRank = { LAUNCH_TEST: '1' };

describe('a rank that a launcher has started', () => {
  it('meets the others with what the options say, and is closed when the script has nothing left to do', async () => {
    const { exitCode, lines } = await run(
      `const fabric = new Fabric({ accelerator: 'cpu', devices: 2, rankTimeoutMs: 500, processGroupOptions: { port: 7 } });
       tell([fabric.globalRank, fabric.worldSize].join(' of '));
       await fabric.launch();
       tell([fabric.strategy.name, fabric.device].join(' '));`,
      asRank,
    );
    expect(lines).toEqual([
      '1 of 2',
      'meet: test launcher {"options":{"port":7},"rankTimeoutMs":500}',
      'apart cpu:0',
      'close',
    ]);
    expect(exitCode).toBe(0);
  });

  it('tells the others of an exception that nobody catches', async () => {
    const { exitCode, lines, stderr } = await run(
      `const fabric = new Fabric({ accelerator: 'cpu' });
       await fabric.launch();
       throw new RangeError('out of paper');`,
      asRank,
    );
    expect(lines.slice(1)).toEqual(['abort: rank 1 failed: RangeError: out of paper']);
    expect(stderr).toMatch(/RangeError: out of paper/);
    expect(exitCode).toBe(1);
  });

  it('tells the others of an exit code, and of an accelerator that failed', async () => {
    const left = await run(
      `const fabric = new Fabric({ accelerator: 'cpu' });
       await fabric.launch();
       process.exit(3);`,
      asRank,
    );
    expect(left).toMatchObject({ exitCode: 3, lines: [expect.anything(), 'abort: rank 1 ended with exit code 3'] });
    const failed = await run(
      `const fabric = new Fabric({ accelerator: 'cpu', devices: [0, 4] });
       await fabric.launch().catch((error) => tell(error.code));`,
      asRank,
    );
    expect(failed).toMatchObject({
      exitCode: 0,
      lines: [
        expect.anything(),
        expect.stringMatching(/^abort: rank 1 failed: TensorloomError: .*device 4/),
        'close',
        'UNSUPPORTED',
      ],
    });
  });

  it('closes by itself after launch(fn)', async () => {
    const { lines } = await run(
      `const result = await new Fabric({ accelerator: 'cpu' }).launch(async (fabric) => fabric.globalRank + 1);
       tell('result: ' + result);`,
      asRank,
    );
    expect(lines.slice(1)).toEqual(['close', 'result: 2']);
  });
});

describe('a process that was started alone', () => {
  it('starts the ranks, and ends with their exit code without running on', async () => {
    const { exitCode, lines } = await run(
      `registerRankLauncher(async (request) => { tell(JSON.stringify(request)); return 7; });
       const fabric = new Fabric({ accelerator: 'cpu', devices: [1, 2], threads: 3 });
       await fabric.launch();
       tell('after');`,
    );
    expect(lines).toEqual(['{"devices":2,"numNodes":1,"threads":3,"deviceIndices":[1,2]}']);
    expect(exitCode).toBe(7);
  });

  it('starts as many ranks as the accelerator has devices, if that is asked for', async () => {
    const { lines } = await run(
      `registerRankLauncher(async (request) => { tell(JSON.stringify(request)); return 0; });
       const { accelerators } = await import('@tensorloom/core');
       const accelerator = Object.assign(accelerators.get('cpu').create(), { deviceCount: () => 4 });
       const alone = new Fabric({ accelerator, devices: 'auto', strategy: 'single' });
       await alone.launch();
       tell(alone.device);
       await new Fabric({ accelerator, devices: 'auto' }).launch();`,
    );
    expect(lines).toEqual(['cpu:0', '{"devices":4,"numNodes":1}']);
  });

  it('says what is missing where no launcher is there', async () => {
    const { lines } = await run(
      `await new Fabric({ accelerator: 'cpu', devices: 2 }).launch().catch((error) => tell(error.code + ' ' + error.message));`,
    );
    expect(lines).toEqual([expect.stringMatching(/^UNSUPPORTED .*devices is 2.*@tensorloom\/strategies/)]);
  });
});

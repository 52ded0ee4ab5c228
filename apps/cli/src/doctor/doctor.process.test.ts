import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, it } from 'vitest';

const bin = fileURLToPath(new URL('../../bin/tensorloom', import.meta.url));

it(
  'tensorloom doctor exits 0 where training is possible, and prints the same as JSON',
  { timeout: 180_000 },
  async () => {
    const text = await execa(bin, ['doctor'], { reject: false });
    expect(text.exitCode).toBe(0);
    expect(text.stdout).toMatch(/Training is possible here\.$/);
    const json = await execa(bin, ['doctor', '--json'], { reject: false });
    expect(JSON.parse(json.stdout)).toMatchObject({
      canTrain: true,
      node: { version: process.version, supported: true },
    });
  },
);

it('tensorloom doctor exits 1 where it is not, and says what to do', { timeout: 180_000 }, async () => {
  const { exitCode, stdout } = await execa(bin, ['doctor'], {
    reject: false,
    env: { TENSORLOOM_CACHE: '/proc/self/status/cache' },
  });
  expect(exitCode).toBe(1);
  expect(stdout).toMatch(
    /Training is not possible here:\n {2}The cache folder .* cannot be written: .*TENSORLOOM_CACHE/,
  );
});

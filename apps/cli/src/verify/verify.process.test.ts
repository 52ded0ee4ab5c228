import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tf } from '@tensorloom/core';
import { execa } from 'execa';
import { afterEach, describe, expect, it } from 'vitest';
import { copyCases, editTensors, FURTHER_CASES, newFolder, removeFolders } from './fixtures.testing.ts';

const bin = fileURLToPath(new URL('../../bin/tensorloom', import.meta.url));

const run = (...args: string[]) => execa(bin, ['verify', '--accelerator=cpu', ...args], { reject: false });

afterEach(removeFolders);

describe('tensorloom verify', { timeout: 180_000 }, () => {
  it('exits 0 when all is within its bounds, with a table on stdout and progress on stderr', async () => {
    const { exitCode, stdout, stderr } = await run(`--reference=${FURTHER_CASES}`, '--only=forward-only');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/forward-only +logits .* ok /);
    expect(stderr).toContain('forward-only …');
  });

  it('exits 1 when something is over its bound, naming the tensor', async () => {
    const folder = copyCases(FURTHER_CASES, ['forward-only']);
    await tf.setBackend('cpu');
    await editTensors(join(folder, 'forward-only.safetensors'), (tensors) =>
      tensors.set('forward/logits', tf.zeros([2, 2])),
    );
    const { exitCode, stdout } = await run(`--reference=${folder}`);
    expect(exitCode).toBe(1);
    expect(stdout).toContain('forward-only: logits over the bound in forward/logits');
    const json = await run(`--reference=${folder}`, '--json');
    expect(json.exitCode).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ passed: false, accelerator: 'cpu' });
  });

  it('exits 2 without a case, on a malformed one and on wrong usage, with one line and no stack trace', async () => {
    const empty = await run(`--reference=${newFolder()}`);
    const folder = copyCases(FURTHER_CASES, ['forward-only']);
    writeFileSync(join(folder, 'forward-only.json'), '{"config": {"n_head": 0}}');
    const malformed = await run(`--reference=${folder}`);
    const none = await execa(bin, ['verify'], { reject: false });
    const unknown = await run(`--reference=${FURTHER_CASES}`, '--accelerator=wsam');
    for (const { exitCode, stdout, stderr } of [empty, malformed, none, unknown]) {
      expect(exitCode).toBe(2);
      expect(stdout).toBe('');
      expect(stderr).not.toMatch(/^\s+at /m);
    }
    expect(empty.stderr).toMatch(/^error: .*no reference case/m);
    expect(malformed.stderr).toMatch(/^error: .*forward-only\.json: config: .*n_head/m);
    expect(none.stderr).toContain('--reference');
    expect(unknown.stderr).toContain("Did you mean 'wasm'?");
  });
});

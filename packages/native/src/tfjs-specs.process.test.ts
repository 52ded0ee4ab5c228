/** tfjs-core's own specs hold for this backend (tfjs-specs/compare.mjs runs them in processes of their own). */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { nativeIsBuilt } from './native.testing.ts';

const script = fileURLToPath(new URL('../tfjs-specs/compare.mjs', import.meta.url));

it.skipIf(!nativeIsBuilt)("every spec of tfjs-core that passes on tfjs's CPU backend passes on native", () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tfjs-specs-report-'));
  try {
    const report = path.join(folder, 'report.json');
    const { stdout, stderr } = spawnSync(process.execPath, [script, '--report', report], { encoding: 'utf8' });
    expect(stderr).toBe('');
    const { passed, failures, needless } = JSON.parse(readFileSync(report, 'utf8'));
    expect({ failures, needless }, stdout).toEqual({ failures: [], needless: [] });
    expect(passed).toBeGreaterThan(4000);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

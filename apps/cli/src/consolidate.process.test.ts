import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TinyRuns } from './testing/tiny-run.testing.ts';

const runs = new TinyRuns('wasm');
afterAll(() => runs.place.dispose());

const filesOf = (path: string): Record<string, string> =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString('base64')]));

describe('tensorloom consolidate', () => {
  it("makes of a run's last checkpoint the model that the run left, byte for byte", { timeout: 120_000 }, async () => {
    const trained = await runs.train('whole', '--padding-side=left', '--max-steps=9');
    expect(trained.stderr).toBe('');
    expect(trained.code).toBe(0);
    const done = await runs.place.run(['consolidate', 'runs/whole', 'folder']);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(filesOf(runs.place.path('folder'))).toEqual(filesOf(runs.path('whole', 'model')));
    // An older one is another model.
    const older = runs.checkpoints('whole').at(-1) as string;
    expect((await runs.place.run(['consolidate', older, 'older'])).code).toBe(0);
    const predicted = await runs.place.run(['predict', '--model=older', '--accelerator=wasm', 'a great film']);
    expect(predicted).toMatchObject({ code: 0, stdout: expect.stringMatching(/good|bad/) });
  });
});

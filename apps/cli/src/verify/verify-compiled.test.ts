import { accelerators } from '@tensorloom/core';
import { afterEach, describe, expect, it } from 'vitest';
import { BLOOM_CASES, FURTHER_CASES, removeFolders, TRAIN_RUN } from './fixtures.testing.ts';
import { verify, type VerifyOptions } from './verify.ts';

const TIMEOUT_MS = 600_000;

afterEach(removeFolders);

const native = accelerators.get('native').create();
const reason = await native.unavailable();
if (reason !== null) {
  if (process.env['TENSORLOOM_REQUIRE_NATIVE'] === '1') throw new Error(reason);
  console.log(`compiled blocks are not verified: ${reason}`);
}

async function overIn(options: Omit<VerifyOptions, 'accelerator'>): Promise<string[]> {
  const { checks } = await verify({ accelerator: native.name, ...options });
  expect(checks.length).toBeGreaterThan(0);
  return checks.filter(({ ok }) => !ok).map(({ case: name, what, over }) => `${name} ${what}: ${over.join(', ')}`);
}

describe
  .runIf(reason === null)
  .each([{ compile: true }, { compile: true, activationCheckpointing: true }, { activationCheckpointing: true }])(
  'with %j',
  (how) => {
    it('every BLOOM case is within the bounds of the model op by op', { timeout: TIMEOUT_MS }, async () => {
      expect(await overIn({ reference: BLOOM_CASES, ...how })).toEqual([]);
      expect(await overIn({ reference: FURTHER_CASES, ...how })).toEqual([]);
    });

    it.each(['32-true', '16-mixed', 'bf16-true'])(
      'so is the fine-tuning run in %s',
      { timeout: TIMEOUT_MS },
      async (precision) => {
        expect(await overIn({ reference: TRAIN_RUN, only: ['train-run'], precision, ...how })).toEqual([]);
      },
    );
  },
);

it('is refused where there is no compiler', async () => {
  await expect(verify({ reference: BLOOM_CASES, accelerator: 'cpu', compile: true })).rejects.toThrow(
    /has no compiler/,
  );
});

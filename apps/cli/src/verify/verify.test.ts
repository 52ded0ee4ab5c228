import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accelerators, tf, type Tensor } from '@tensorloom/core';
import { afterEach, describe, expect, it } from 'vitest';
import type { Check } from './comparison.ts';
import {
  BLOOM_CASES,
  copyCases,
  DATA_CASES,
  editJson,
  editTensors,
  FURTHER_CASES,
  newFolder,
  removeFolders,
  TRAIN_RUN,
  type CaseJson,
} from './fixtures.testing.ts';
import { formatReport, reportToJson } from './report.ts';
import { verify } from './verify.ts';

const FULL_RUN_TIMEOUT_MS = 900_000;

afterEach(removeFolders);

/** Accelerators that CI asks for where it sets this variable to 1: their absence is a failure then. */
const required: Readonly<Record<string, string>> = {
  tensorflow: 'TENSORLOOM_REQUIRE_TENSORFLOW',
  native: 'TENSORLOOM_REQUIRE_NATIVE',
};

/** Accelerators of this machine. */
async function usable(): Promise<string[]> {
  const found: string[] = [];
  for (const name of accelerators.names()) {
    const reason = await accelerators.get(name).create().unavailable();
    if (reason === null) found.push(name);
    else if (process.env[required[name] ?? ''] === '1') throw new Error(reason);
    else console.log(`not verified on ${name}: ${reason}`);
  }
  return found;
}

function overOf(checks: readonly Check[]): string[] {
  return checks.filter((check) => !check.ok).map((check) => `${check.case} ${check.what}: ${check.over.join(', ')}`);
}

const here = await usable();

describe.each(here)('on %s', (accelerator) => {
  // Plain JavaScript is slow: there, the cases that exercise most.
  const slow = accelerator === 'cpu';

  it('every BLOOM case is within its bounds', { timeout: FULL_RUN_TIMEOUT_MS }, async () => {
    const report = await verify({ reference: BLOOM_CASES, accelerator, ...(slow ? { only: ['tiny'] } : {}) });
    expect(overOf(report.checks)).toEqual([]);
    expect(report).toMatchObject({ accelerator, passed: true, notes: [] });
    if (!slow) expect(report.cases).toBe(6);
    const whats = report.checks.filter((check) => check.case === 'tiny').map((check) => check.what);
    expect(whats).toEqual([
      'last hidden state',
      'logits',
      'loss',
      'gradients',
      ...['adam', 'adamw', 'sgd', 'accumulate'].flatMap((tag) => [
        `${tag} losses`,
        `${tag} parameters`,
        `${tag} parameters without gradient`,
      ]),
      'clip losses',
      'clip norms',
      'clip parameters',
      'clip parameters without gradient',
    ]);
  });

  it('so are cases of other shapes, heads and hyper-parameters', { timeout: FULL_RUN_TIMEOUT_MS }, async () => {
    const only = ['one-token', 'multi-label'];
    const report = await verify({ reference: FURTHER_CASES, accelerator, ...(slow ? { only } : {}) });
    expect(overOf(report.checks)).toEqual([]);
    expect(report).toMatchObject({ cases: slow ? 2 : 6, passed: true });
  });

  it.skipIf(slow)('so is the fine-tuning run', { timeout: FULL_RUN_TIMEOUT_MS }, async () => {
    // The whole run takes minutes on wasm: its first steps must do there.
    const whole = accelerator in required;
    if (!whole) console.log(`the first 10 steps of the fine-tuning run on ${accelerator}; all with tensorloom verify`);
    const folder = copyCases(TRAIN_RUN, ['train-run']);
    if (!whole)
      editJson(join(folder, 'train-run.json'), (json) => {
        const { eval_accuracy_before: _before, eval_accuracy_after: _after, ...rest } = json;
        return { ...rest, steps: 10, losses: (json['losses'] as unknown as number[]).slice(0, 40) };
      });
    const report = await verify({ reference: folder, accelerator });
    expect(overOf(report.checks)).toEqual([]);
    expect(report.checks.map((check) => check.what)).toEqual([
      ...(whole ? ['eval accuracy before'] : []),
      whole ? 'losses, first 120' : 'losses, first 40',
      'mean loss, last 40',
      ...(whole ? ['eval accuracy after'] : []),
    ]);
  });
});

const halves = here.filter((name) => accelerators.get(name).create().storages.includes('float16'));

describe.runIf(halves.length > 0).each(halves)('on %s', (accelerator) => {
  const compiles = accelerators.get(accelerator).create().compileBlock !== undefined;
  const works = ['16-mixed', 'bf16-mixed', '16-true', 'bf16-true'].map((precision) => ({ precision, compile: false }));
  const compiled = ['16-mixed', 'bf16-mixed'].map((precision) => ({ precision, compile: true }));

  it.each(compiles ? [...works, ...compiled] : works)(
    "the fine-tuning run in $precision (compiled: $compile) stays close to float32's losses and ends with its accuracy",
    { timeout: FULL_RUN_TIMEOUT_MS },
    async (work) => {
      const report = await verify({ reference: TRAIN_RUN, only: ['train-run'], accelerator, ...work });
      expect(overOf(report.checks)).toEqual([]);
      expect(report.checks.map(({ what, bound }) => [what, bound])).toEqual([
        ['eval accuracy before', 0.02],
        ['losses, first 120', 0.03],
        ['mean loss, last 40', 0.03],
        ['eval accuracy after', 0.02],
      ]);
      // That it was in halves shows in the losses.
      expect(report.checks[1]?.error).toBeGreaterThan(1e-5);
    },
  );

  it('other cases than fine-tuning runs are refused in halves', async () => {
    await expect(verify({ reference: BLOOM_CASES, accelerator, precision: '16' })).rejects.toThrow(
      /--precision=16-mixed: only fine-tuning runs are compared in another precision than 32-true, not .*tiny/,
    );
  });
});

describe('a result over its bound is found, and the tensor named', () => {
  /** Adds `by` to one element of a tensor. */
  const nudge =
    (name: string, by: number, index = 0) =>
    (tensors: Map<string, Tensor>) => {
      const data = (tensors.get(name) as Tensor).dataSync<'float32'>();
      data[index] = (data[index] as number) + by;
      tensors.set(name, tf.tensor(data, (tensors.get(name) as Tensor).shape));
    };

  it.each<[string, string, (tensors: Map<string, Tensor>) => void]>([
    ['logits', 'forward/logits', nudge('forward/logits', 1e-4)],
    ['last hidden state', 'forward/last_hidden_state', nudge('forward/last_hidden_state', 1e-3, 700)],
    ['gradients', 'grads/score.weight', nudge('grads/score.weight', 1e-3, 5)],
    ['sgd parameters', 'sgd/transformer.ln_f.bias', nudge('sgd/transformer.ln_f.bias', 1e-4, 3)],
    ['clip parameters', 'clip/score.weight', nudge('clip/score.weight', NaN)],
  ])('%s', async (what, tensor, edit) => {
    const folder = copyCases(BLOOM_CASES, ['tiny']);
    await tf.setBackend('cpu');
    await editTensors(join(folder, 'tiny.safetensors'), edit);
    const report = await verify({ reference: folder, accelerator: 'wasm' });
    expect(overOf(report.checks)).toEqual([`tiny ${what}: ${tensor}`]);
    expect(report.passed).toBe(false);
    expect(formatReport(report)).toContain(`tiny: ${what} over the bound in ${tensor}`);
  });

  it.each<[string, (json: CaseJson) => unknown, string]>([
    ['loss', (json) => ({ ...json, scalars: { ...json['scalars'], loss: 0.2485 } }), 'tiny loss: scalars.loss'],
    [
      'norms',
      (json) => ({ ...json, scalars: { ...json['scalars'], clip_norms: [1.3832416534423828, 1.82] } }),
      'tiny clip norms: scalars.clip_norms[1]',
    ],
    [
      'another weight decay than the reference had',
      (json) => ({ ...json, optimizers: { ...json['optimizers'], adamw: { lr: 1e-3, weight_decay: 0.2 } } }),
      'tiny adamw losses',
    ],
  ])('%s', async (_, edit, over) => {
    const folder = copyCases(BLOOM_CASES, ['tiny']);
    editJson(join(folder, 'tiny.json'), edit);
    const report = await verify({ reference: folder, accelerator: 'wasm' });
    expect(overOf(report.checks).join('; ')).toContain(over);
  });

  it('a row of a tokenizer', async () => {
    const folder = newFolder();
    writeFileSync(join(folder, 'tokenizer.json'), readFileSync(join(DATA_CASES, 'tokenizer.json')));
    const encodings = JSON.parse(readFileSync(join(DATA_CASES, 'encodings.json'), 'utf8')) as {
      rows: { ids: number[]; decoded: string }[];
    };
    encodings.rows[5]?.ids.push(7);
    writeFileSync(join(folder, 'encodings.json'), JSON.stringify(encodings));
    const report = await verify({ reference: folder, accelerator: 'cpu' });
    expect(report.checks[0]).toMatchObject({ error: 1, bound: 0, ok: false, where: 'rows 5' });
  });
});

describe('what verify reports', () => {
  it('86 of 86 rows of the tokenizer, and that the partition needs the reviews', async () => {
    const report = await verify({ reference: DATA_CASES, accelerator: 'cpu' });
    expect(report.checks.map((check) => [check.what, check.error])).toEqual([
      ['ids, rows that differ (of 86)', 0],
      ['decoded, rows that differ (of 86)', 0],
    ]);
    expect(report.notes).toEqual([expect.stringContaining('imdb-partition: not checked')]);
    expect(report.passed).toBe(true);
  });

  it('only the cases that were asked for', async () => {
    const report = await verify({ reference: FURTHER_CASES, accelerator: 'cpu', only: ['forward', 'one-token'] });
    expect(new Set(report.checks.map((check) => check.case))).toEqual(new Set(['forward-only', 'one-token']));
    await expect(verify({ reference: FURTHER_CASES, accelerator: 'cpu', only: ['none'] })).rejects.toThrow(
      /matches no case; there are: causal-lm-left, deep-twelve-heads/,
    );
  });

  it('the same as a table and as JSON', async () => {
    const report = await verify({ reference: FURTHER_CASES, accelerator: 'cpu', only: ['forward-only'] });
    expect(formatReport(report)).toMatch(/forward-only +logits +\S+ +\S+ +ok +forward\/logits\[\d+\]\n/);
    expect(formatReport(report)).toMatch(/2 of 2 checks within their bounds, 1 case: passed\.$/);
    expect(JSON.parse(reportToJson(report))).toMatchObject({ passed: true, checks: [{ case: 'forward-only' }, {}] });
  });

  it('an accelerator that does not exist, with those that do', async () => {
    await expect(verify({ reference: FURTHER_CASES, accelerator: 'wsam' })).rejects.toThrow(
      /wsam.*Did you mean 'wasm'/,
    );
  });

  it('leaves no tensor behind', async () => {
    const only = ['multi-label'];
    await verify({ reference: FURTHER_CASES, accelerator: 'cpu', only });
    const before = tf.memory().numTensors;
    await verify({ reference: FURTHER_CASES, accelerator: 'cpu', only });
    expect(tf.memory().numTensors).toBe(before);
  });
});

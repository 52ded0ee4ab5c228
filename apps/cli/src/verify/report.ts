/** The table of the largest errors, and the same as JSON. */
import type { Check } from './comparison.ts';

/** What a run of `verify` found. */
export interface VerifyReport {
  readonly reference: string;
  /** Name and description of the accelerator that computed. */
  readonly accelerator: string;
  readonly device: string;
  readonly cases: number;
  readonly checks: readonly Check[];
  /** What could not be checked, and why. */
  readonly notes: readonly string[];
  readonly passed: boolean;
}

const HEADINGS = ['case', 'what', 'largest error', 'bound', 'verdict', 'where'] as const;

/** A table with one line for each check, and a summary. */
export function formatReport(report: VerifyReport): string {
  const rows = report.checks.map((check) => [
    check.case,
    check.what,
    number(check.error),
    number(check.bound),
    check.ok ? 'ok' : 'OVER',
    check.where,
  ]);
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  const failed = report.checks.filter((check) => !check.ok);
  return [
    `${report.reference} on ${report.accelerator} (${report.device})`,
    '',
    line(HEADINGS),
    line(widths.map((width) => '-'.repeat(width))),
    ...rows.map(line),
    '',
    ...failed.map((check) => `${check.case}: ${check.what} over the bound in ${check.over.join(', ')}`),
    ...report.notes,
    `${report.checks.length - failed.length} of ${report.checks.length} checks within their bounds, ${report.cases} ${report.cases === 1 ? 'case' : 'cases'}: ${report.passed ? 'passed' : 'FAILED'}.`,
  ].join('\n');
}

/** One JSON document; errors that are no finite numbers become null. */
export function reportToJson(report: VerifyReport): string {
  return JSON.stringify(report, null, 2);
}

function number(value: number): string {
  if (value === 0) return '0';
  return Number.isFinite(value) ? value.toExponential(2) : String(value);
}

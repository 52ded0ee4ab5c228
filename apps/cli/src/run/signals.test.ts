import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { exitCodeOf, Signals } from './signals.ts';

let exits: (string | number | null | undefined)[];
let signals: Signals;
beforeEach(() => {
  exits = [];
  vi.spyOn(process, 'exit').mockImplementation(((code: number) => exits.push(code)) as never);
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  signals = new Signals().listen();
});
afterEach(() => {
  signals.close();
  vi.restoreAllMocks();
});

test('with nothing to save, a signal ends the process at once with 128 + its number', () => {
  process.emit('SIGINT');
  process.emit('SIGTERM');
  expect(exits).toEqual([130, 143]);
  expect([exitCodeOf('SIGINT'), exitCodeOf('SIGTERM')]).toEqual([130, 143]);
});

test('with something to save, the first signal only asks to stop; the second ends the process at once', async () => {
  await signals.whileSaving(async () => {
    expect(signals.requested).toBeUndefined();
    process.emit('SIGTERM');
    expect(signals.requested).toBe('SIGTERM');
    expect(exits).toEqual([]);
    process.emit('SIGINT');
    expect(exits).toEqual([130]);
    await Promise.resolve();
  });
});

test('after the saving, a signal ends the process at once again', async () => {
  await signals.whileSaving(() => Promise.resolve());
  process.emit('SIGINT');
  expect(exits).toEqual([130]);
});

test('close gives signals back', () => {
  const before = process.listenerCount('SIGINT');
  signals.close();
  expect(process.listenerCount('SIGINT')).toBe(before - 1);
});

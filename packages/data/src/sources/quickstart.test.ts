import { expect, it } from 'vitest';
import { openTextSource, textSourceNames } from './text-splits.ts';
import './built-in.ts';

it('quickstart has 3,000 real sentences, less those that occur twice, 80/10/10 and balanced', async () => {
  const { train, validation, test, labelNames } = await (await openTextSource('quickstart')).read();
  expect([train, validation, test].map(({ texts }) => texts.length)).toEqual([2386, 298, 298]);
  for (const { texts, labels } of [train, validation, test])
    expect(labels.filter((label) => label === 1).length / texts.length).toBeCloseTo(0.5, 2);
  const all = [...train.texts, ...validation.texts, ...test.texts];
  expect(new Set(all).size).toBe(all.length);
  expect(all.every((text) => text.length > 0 && text === text.trim())).toBe(true);
  expect(labelNames).toEqual(['negative', 'positive']);
  const home = [train, validation, test].find(({ texts }) => texts.includes('Wow... Loved this place.'));
  expect(home?.labels[home.texts.indexOf('Wow... Loved this place.')]).toBe(1);
});

it('quickstart is the same each time, and another with another seed', async () => {
  const [first, second, other] = await Promise.all(
    [{}, {}, { seed: 1 }].map(async (options) => openTextSource('quickstart', options)),
  );
  expect(await second?.read()).toEqual(await first?.read());
  expect((await other?.read())?.train.texts).not.toEqual((await first?.read())?.train.texts);
  expect(other?.fingerprint).not.toBe(first?.fingerprint);
});

it('an unknown data set lists those that exist', async () => {
  expect(textSourceNames()).toEqual(['quickstart', 'imdb', 'jsonl', 'csv']);
  await expect(openTextSource('imbd')).rejects.toThrow(/Unknown data set 'imbd'. Did you mean 'imdb'\?/);
});

/** Runs a partition case: the file lists of the blog's partition of IMDB, compared by digest. */
import { createHash } from 'node:crypto';
import { blogPartition, listImdbReviews } from '@tensorloom/data';
import { Comparison, type Check } from './comparison.ts';
import type { PartitionCase } from './reference-folder.ts';

/** @param imdb the archive or its unpacked folder */
export async function runPartitionCase(read: PartitionCase, imdb: string): Promise<Check[]> {
  const partition = blogPartition(await listImdbReviews(imdb));
  return (['train', 'validation', 'test'] as const).flatMap((part) => {
    const files = partition[part];
    const expected = read.json[part];
    const comparison = new Comparison(read.name, `${part} files`);
    comparison.value(`${part}.count`, files.length, expected.count, 0);
    comparison.value(`${part}.positives`, files.filter((file) => file.includes('/pos/')).length, expected.positives, 0);
    comparison.value(`${part}.first`, differing(files.slice(0, expected.first.length), expected.first), 0, 0);
    comparison.value(`${part}.last`, differing(files.slice(files.length - expected.last.length), expected.last), 0, 0);
    const digest = createHash('sha256').update(files.join('\n')).digest('hex');
    comparison.value(
      `${part}.sha256_of_newline_joined_files`,
      Number(digest !== expected.sha256_of_newline_joined_files),
      0,
      0,
    );
    return comparison.check() ?? [];
  });
}

function differing(actual: readonly string[], expected: readonly string[]): number {
  return expected.filter((file, index) => file !== actual[index]).length;
}

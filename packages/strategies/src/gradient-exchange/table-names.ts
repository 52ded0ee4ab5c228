/** Which parameters are tables: those with row-sparse gradients. */
import { RowSparse, type Parameter, type ProcessGroup } from '@tensorloom/core';

/** Names of those that are tables on any rank, as far as a window has shown. Blocks: it is asked once, possibly in the middle of backward. */
export function findTables(group: ProcessGroup, parameters: readonly Parameter[]): string[] {
  const seen = Int32Array.from(parameters, ({ grad, onHost }) => (onHost || grad instanceof RowSparse ? 1 : 0));
  group.allReduce(seen, 'max').waitSync();
  return parameters.flatMap(({ name }, i) => (seen[i] === 1 ? [name] : []));
}

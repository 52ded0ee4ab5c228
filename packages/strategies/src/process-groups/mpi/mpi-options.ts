/** Options of the process group `mpi`. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { z } from 'zod';

const schema = z.strictObject({
  /** MPI_Iallreduce and its kin, polled, in place of calls that block the communication thread (default false). */
  nonBlocking: z.boolean('expected true or false').default(false),
  /** The file of Open MPI's library (default: libmpi.so.40 or libmpi.so, wherever the system finds it). */
  library: z.string('expected a file').min(1, 'expected a file').optional(),
});

export type MpiOptions = z.input<typeof schema>;

/** @throws TensorloomError `BAD_OPTION` naming every option that is unknown or of a wrong type */
export function parseMpiOptions(options: Readonly<Record<string, unknown>>): z.output<typeof schema> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) =>
    issue.code === 'unrecognized_keys'
      ? `it has no option ${issue.keys.map((key) => `'${key}'`).join(', ')} (it has: ${Object.keys(schema.shape).join(', ')})`
      : `${issue.path.join('.')} is ${JSON.stringify(options[String(issue.path[0])])}; ${issue.message}`,
  );
  throw new TensorloomError('BAD_OPTION', `Process group 'mpi': ${problems.join('; ')}.`);
}

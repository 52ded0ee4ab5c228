/** Messages between ranks that are no data: failures, goodbyes, addresses, and the question who has come to a call. */
import type { ErrorCode } from '@tensorloom/core/distributed';
import { z } from 'zod';
import { packObject, unpackObject } from '../objects.ts';

const codes = [
  'COLLECTIVE_MISMATCH',
  'RANK_LOST',
  'TIMEOUT',
  'ABORTED',
  'BAD_DATA',
  'IO',
] as const satisfies ErrorCode[];
const text = z.string().max(8192);

const controlSchema = z.discriminatedUnion('type', [
  /** Of the sender, or one it was told of. `group` null: of the whole job. */
  z.strictObject({ type: z.literal('failure'), group: z.int().nullable(), code: z.enum(codes), message: text }),
  z.strictObject({ type: z.literal('goodbye') }),
  z.strictObject({
    type: z.literal('addresses'),
    addresses: z.array(z.strictObject({ host: z.string().max(256), port: z.int().min(0).max(65_535) })).max(65_536),
  }),
  z.strictObject({ type: z.literal('where'), group: z.int(), id: z.int() }),
  z.strictObject({ type: z.literal('here'), group: z.int(), id: z.int(), calls: z.int() }),
]);

export type ControlMessage = z.infer<typeof controlSchema>;
export type FailureCode = (typeof codes)[number];
export const MAX_CONTROL_BYTES = 8 * 1024 * 1024;

export function packControl(message: ControlMessage): Uint8Array {
  return packObject(message);
}

/** @throws Error for what is no such message */
export function unpackControl(bytes: Uint8Array): ControlMessage {
  return controlSchema.parse(unpackObject(bytes));
}

export function failureCode(code: ErrorCode): FailureCode {
  return (codes as readonly string[]).includes(code) ? (code as FailureCode) : 'ABORTED';
}

/** Messages from one rank to another over MPI. */
import { TensorloomError } from '@tensorloom/core/distributed';
import { mismatch, type CollectiveCall } from '../collective-call.ts';
import type { Agreement } from './agreement.ts';
import type { Communicator } from './communicator.ts';
import { waitFor, type MpiRequest } from './requests.ts';

/** Tags of what goes before the data lie above those of agreements. */
const FIRST_TAG = 16;
const MAX_TAG = 2 ** 30;
const TYPES = ['float32', 'float64', 'int32', 'uint8', 'float16', 'bfloat16'] as const;

export class MpiMail {
  readonly #group: Communicator;
  readonly #agreement: Agreement;
  readonly #timeoutMs: number;
  /** Sent off and perhaps not yet received. */
  #outgoing: MpiRequest[] = [];
  #progress: NodeJS.Timeout | undefined;

  constructor(group: Communicator, agreement: Agreement, timeoutMs: number) {
    this.#group = group;
    this.#agreement = agreement;
    this.#timeoutMs = timeoutMs;
  }

  /** Ends at once: what is sent is copied, and MPI gets it off while this thread waits for other things. */
  send({ input, elementType, peer, tag }: CollectiveCall): void {
    checkTag(tag);
    const { mpi, control, handle, options } = this.#group;
    const letter = Float64Array.of(TYPES.indexOf(elementType), input!.length);
    this.#outgoing.push(this.#group.send(letter, mpi.typeOf('float64'), peer, FIRST_TAG + tag, control));
    const copy = input!.slice();
    for (let start = 0; start < copy.length; start += options.maxCount)
      this.#outgoing.push(
        this.#group.send(copy.subarray(start, start + options.maxCount), mpi.typeOf(elementType), peer, tag, handle),
      );
    // Large messages leave only while MPI is called.
    this.#progress ??= setInterval(() => this.#sweep(), 1).unref();
  }

  /** @throws TensorloomError `COLLECTIVE_MISMATCH` for data of another length or type, `TIMEOUT` */
  async receive({ output, elementType, peer, tag }: CollectiveCall): Promise<void> {
    checkTag(tag);
    const { mpi, control, handle, options, rank } = this.#group;
    const letter = new Float64Array(2);
    await this.#arrival(this.#group.receive(letter, mpi.typeOf('float64'), peer, FIRST_TAG + tag, control), peer, tag);
    const sent = `${TYPES[letter[0]!]!}[${letter[1]!}]`;
    const expected = `${elementType}[${output!.length}]`;
    if (sent !== expected)
      throw mismatch(
        new Map([
          [peer, `send ${sent} to rank ${rank}`],
          [rank, `receive ${expected} from rank ${peer}`],
        ]),
      );
    for (let start = 0; start < output!.length; start += options.maxCount) {
      const part = output!.subarray(start, start + options.maxCount);
      await this.#arrival(this.#group.receive(part, mpi.typeOf(elementType), peer, tag, handle), peer, tag);
    }
  }

  /** Until everything that was sent is received. @throws TensorloomError `TIMEOUT` */
  async close(): Promise<void> {
    clearInterval(this.#progress);
    const late = (): TensorloomError =>
      new TensorloomError(
        'TIMEOUT',
        `send: ${this.#outgoing.length} messages of rank ${this.#group.rank} were not received within ${this.#timeoutMs / 1000} s.`,
      );
    const look = this.#agreement.deadline(this.#timeoutMs, late);
    await waitFor(() => this.#sweep() === 0, { look, patient: true });
  }

  #sweep(): number {
    this.#outgoing = this.#outgoing.filter((request) => !request.test());
    if (this.#outgoing.length === 0) {
      clearInterval(this.#progress);
      this.#progress = undefined;
    }
    return this.#outgoing.length;
  }

  async #arrival(request: MpiRequest, peer: number, tag: number): Promise<void> {
    const late = (): TensorloomError =>
      new TensorloomError(
        'TIMEOUT',
        `receive: rank ${peer} sent nothing with tag ${tag} within ${this.#timeoutMs / 1000} s.`,
      );
    await waitFor(() => request.test(), { look: this.#agreement.deadline(this.#timeoutMs, late), patient: true });
  }
}

function checkTag(tag: number): void {
  if (!Number.isInteger(tag) || tag < 0 || tag > MAX_TAG)
    throw new TensorloomError(
      'BAD_OPTION',
      `The tag of a message is ${tag}; expected a whole number from 0 to ${MAX_TAG}.`,
    );
}

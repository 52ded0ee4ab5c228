/** Ends a call in which nothing moves for too long, and says who has not come to it. */
import type { TensorloomError } from '@tensorloom/core/distributed';
import { describeCall, type CollectiveCall } from '../collective-call.ts';
import { AbsentRanks, waitedTooLong, type Absence } from './absent-ranks.ts';
import type { ControlMessage } from './control.ts';
import type { Inbox } from './inbox.ts';
import type { WsTransport } from './ws-transport.ts';

/** Of one group. */
export class Patience {
  /** Of the group whose calls this one carries out in part, if any: its ranks are asked who has not come. */
  whole: Patience = this;
  readonly #group: WsTransport;
  readonly #inbox: Inbox;
  readonly #timeoutMs: number;
  readonly #absent: AbsentRanks;
  /** The call that is asked about. */
  #asked: CollectiveCall | null = null;
  /** The call to which all ranks had come when its time was over, and which was given as much again. */
  #extended: CollectiveCall | null = null;

  /** @param tell false for a rank that has left */
  constructor(
    group: WsTransport,
    inbox: Inbox,
    timeoutMs: number,
    tell: (peer: number, message: ControlMessage) => boolean,
  ) {
    this.#group = group;
    this.#inbox = inbox;
    this.#timeoutMs = timeoutMs;
    this.#absent = new AbsentRanks(group.hash, tell);
  }

  /** @param progress when something moved last */
  look(now: number, call: CollectiveCall, progress: { lastProgressMs: number }): void {
    if (now - progress.lastProgressMs < this.#timeoutMs || this.#asked === call) return;
    this.#asked = call;
    void this.whole.lateness(call, this.#extended === call).then((error) => {
      if (this.#asked === call) this.#asked = null;
      if (this.#group.call !== call) return;
      if (error !== null) return this.#group.fail(error);
      // The last one has only just come.
      this.#extended = call;
      progress.lastProgressMs = performance.now();
    });
  }

  /**
   * Asks who has not come to the call that is under way, or was counted last, when the time for it is over.
   * @param mustEnd whether it is an error too if all have come
   * @returns null if all have
   */
  async lateness(call: CollectiveCall, mustEnd: boolean): Promise<TensorloomError | null> {
    const { id, rank, globalRanks } = this.#group;
    const isPointToPoint = call.kind === 'send' || call.kind === 'receive';
    const { ranks, did }: Absence = isPointToPoint
      ? { ranks: [call.peer], did: 'not make the other half of it' }
      : await this.#absent.ask([...this.#group.peers()], this.#inbox.call);
    if (ranks.length === 0 && !mustEnd) return null;
    const names = ranks.map((each) => globalRanks[each]!);
    const where = `${describeCall(call)} (process group ${id})`;
    return waitedTooLong(globalRanks[rank]!, this.#timeoutMs / 1000, where, { ranks: names, did });
  }

  onControl(peer: number, message: ControlMessage): void {
    this.#absent.onControl(peer, message, this.#inbox.call);
  }
}

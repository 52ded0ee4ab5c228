/** Finds out which ranks have not come to a call that takes too long. */
import { TensorloomError } from '@tensorloom/core/distributed';
import type { ControlMessage } from './control.ts';

/** Longest wait for answers: communication threads answer at once, also while their main threads compute. */
const ANSWER_MS = 1000;

export class AbsentRanks {
  readonly #group: number;
  readonly #tell: (peer: number, message: ControlMessage) => void;
  #calls = new Map<number, number>();
  #question = 0;

  /** @param group hash of the group's id */
  constructor(group: number, tell: (peer: number, message: ControlMessage) => void) {
    this.#group = group;
    this.#tell = tell;
  }

  /**
   * Asks the others, and returns those who have not come.
   * @param call number of the call
   */
  async ask(peers: readonly number[], call: number): Promise<number[]> {
    this.#calls = new Map();
    const id = ++this.#question;
    for (const peer of peers) this.#tell(peer, { type: 'where', group: this.#group, id });
    const deadline = performance.now() + ANSWER_MS;
    while (this.#calls.size < peers.length && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5));
    return peers.filter((peer) => (this.#calls.get(peer) ?? 0) < call).sort((a, b) => a - b);
  }

  /** @param own number of the call that this rank has come to */
  onControl(peer: number, message: ControlMessage, own: number): void {
    if (message.type === 'where') this.#tell(peer, { type: 'here', group: this.#group, id: message.id, calls: own });
    else if (message.type === 'here' && message.id === this.#question) this.#calls.set(peer, message.calls);
  }
}

/** @param absent global ranks that did not come to a call, or do the other half of a send or receive */
export function waitedTooLong(
  rank: number,
  seconds: number,
  where: string,
  absent: readonly number[],
  isPointToPoint: boolean,
): TensorloomError {
  const ranks = `rank${absent.length > 1 ? 's' : ''} ${absent.join(', ')}`;
  const who =
    absent.length === 0
      ? 'all ranks have come, but nothing moves'
      : `${ranks} did not ${isPointToPoint ? 'make the other half of it' : 'come'}`;
  return new TensorloomError('TIMEOUT', `Rank ${rank} waited ${seconds} s in ${where}: ${who}.`);
}

/** Finds out which ranks have not come to a call that takes too long. */
import { TensorloomError } from '@tensorloom/core/distributed';
import type { ControlMessage } from './control.ts';

/** Longest wait for answers. Communication threads answer at once, also while their main threads compute; a busy machine takes its time. */
const ANSWER_MS = 5000;
/** Longest wait for the others' answers, once a rank has answered that it has not come. */
const OTHERS_MS = 1000;

/** Ranks of a group that keep the others waiting. */
export interface Absence {
  /** In order; none if all have come. */
  readonly ranks: readonly number[];
  /** What is known of them. */
  readonly did: 'not come' | 'not answer whether they have come' | 'not make the other half of it';
}

export class AbsentRanks {
  readonly #group: number;
  readonly #tell: (peer: number, message: ControlMessage) => boolean;
  /** To how many calls ranks have come, by question and rank. */
  readonly #answers = new Map<number, Map<number, number>>();
  #question = 0;

  /**
   * @param group hash of the group's id
   * @param tell false for a rank that has left
   */
  constructor(group: number, tell: (peer: number, message: ControlMessage) => boolean) {
    this.#group = group;
    this.#tell = tell;
  }

  /**
   * Asks the others. Of those that have not come it returns the ones that are furthest behind: the others wait for them, if in calls before
   * this one.
   * @param call number of the call
   */
  async ask(peers: readonly number[], call: number): Promise<Absence> {
    const id = ++this.#question;
    const answers = new Map<number, number>();
    this.#answers.set(id, answers);
    for (const peer of peers) if (!this.#tell(peer, { type: 'where', group: this.#group, id })) answers.set(peer, 0);
    const asked = performance.now();
    const last = (): number => Math.min(...answers.values());
    const isOver = (): boolean =>
      answers.size === peers.length || performance.now() - asked > (last() < call ? OTHERS_MS : ANSWER_MS);
    while (!isOver()) await new Promise((resolve) => setTimeout(resolve, 5));
    this.#answers.delete(id);
    const inOrder = [...peers].sort((a, b) => a - b);
    // Whoever has not answered may only be slow: it is named if nobody is known not to have come.
    if (last() < call) return { ranks: inOrder.filter((peer) => answers.get(peer) === last()), did: 'not come' };
    return { ranks: inOrder.filter((peer) => !answers.has(peer)), did: 'not answer whether they have come' };
  }

  /** @param own number of the call that this rank has come to */
  onControl(peer: number, message: ControlMessage, own: number): void {
    if (message.type === 'where') this.#tell(peer, { type: 'here', group: this.#group, id: message.id, calls: own });
    else if (message.type === 'here') this.#answers.get(message.id)?.set(peer, message.calls);
  }
}

/** @param absence of global ranks */
export function waitedTooLong(rank: number, seconds: number, where: string, { ranks, did }: Absence): TensorloomError {
  const who =
    ranks.length === 0
      ? 'all ranks have come, but nothing moves'
      : `rank${ranks.length > 1 ? 's' : ''} ${ranks.join(', ')} did ${did}`;
  return new TensorloomError('TIMEOUT', `Rank ${rank} waited ${seconds} s in ${where}: ${who}.`);
}

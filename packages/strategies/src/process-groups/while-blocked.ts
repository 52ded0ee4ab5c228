/** What a thread does now and then while a transport keeps it from its event loop. */

let look: () => void = () => {};

/** Sets what `lookAround` does in this thread: the communication thread takes in its messages, so that an abort gets through. */
export function setLookAround(action: () => void): void {
  look = action;
}

/** For transports that block: call it about every 50 ms while waiting. It may abort the very transport that calls it. */
export function lookAround(): void {
  look();
}

/** Signals to the launcher, passed on to its ranks. */

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface ForwardedSignals {
  /** The first that came, or null. */
  readonly received: NodeJS.Signals | null;
  /** Who gets them from now on. */
  to(receiver: (signal: NodeJS.Signals) => void): void;
  /** Back to what the signals did before. */
  stop(): void;
}

/** Each signal is passed on as it comes; a second SIGINT becomes SIGKILL. */
export function forwardSignals(): ForwardedSignals {
  let received: NodeJS.Signals | null = null;
  let interrupts = 0;
  let receiver: (signal: NodeJS.Signals) => void = () => {};
  const forward = (signal: NodeJS.Signals): void => {
    received ??= signal;
    if (signal === 'SIGINT') interrupts++;
    receiver(interrupts > 1 ? 'SIGKILL' : signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  return {
    get received() {
      return received;
    },
    to: (next) => {
      receiver = next;
    },
    stop: () => {
      for (const signal of FORWARDED) process.off(signal, forward);
    },
  };
}

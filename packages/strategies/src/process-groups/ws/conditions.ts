/** Waits for conditions that become true by events. */
export class Conditions {
  #waiting: { readonly isTrue: () => boolean; readonly resolve: () => void }[] = [];

  /** Resolves when `isTrue`; undefined if it is so already. */
  when(isTrue: () => boolean): Promise<void> | undefined {
    if (isTrue()) return undefined;
    return new Promise((resolve) => this.#waiting.push({ isTrue, resolve }));
  }

  /** Something has happened: looks at all conditions again. */
  check(): void {
    if (this.#waiting.length === 0) return;
    const ready = this.#waiting.filter(({ isTrue }) => isTrue());
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter((waiting) => !ready.includes(waiting));
    for (const { resolve } of ready) resolve();
  }
}

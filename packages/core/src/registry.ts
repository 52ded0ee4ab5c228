/** A named collection of interchangeable pieces (strategies, accelerators, precisions), open to the user's own. */
import { TensorloomError, UnknownNameError } from './errors.ts';

/** Entries by name, in order of registration. */
export class Registry<T> {
  readonly #entries = new Map<string, T>();

  /** @param kind what the entries are, in the singular, for messages: `strategy` */
  constructor(readonly kind: string) {}

  /** @throws TensorloomError `BAD_OPTION` if `name` is taken and `replace` is not set */
  register(name: string, entry: T, options: { replace?: boolean } = {}): void {
    if (this.#entries.has(name) && options.replace !== true)
      throw new TensorloomError(
        'BAD_OPTION',
        `A ${this.kind} named '${name}' is already registered; pass { replace: true } to replace it.`,
      );
    this.#entries.set(name, entry);
  }

  /** @throws UnknownNameError naming what exists */
  get(name: string): T {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new UnknownNameError(this.kind, name, this.names());
    return entry;
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  names(): string[] {
    return [...this.#entries.keys()];
  }
}

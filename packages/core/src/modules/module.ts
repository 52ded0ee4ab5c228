/** Base class of everything with parameters. */
export {};

/** The exit codes of the command, as documented in README.md. */
export const exitCodes = {
  ok: 0,
  /** The work failed: bad data or files, a loss that is not finite, `verify` over a bound. */
  failure: 1,
  /** The command line or the configuration is wrong, or `verify` cannot use the folder or a case. Nothing was started. */
  usage: 2,
  /** 128 + 2. */
  interrupted: 130,
  /** 128 + 15. */
  terminated: 143,
} as const;

/** What ranks run: this very program. */

/** The start of each command line of tensorloom: Node.js with its options, and main.ts. */
export function tensorloomCommand(): string[] {
  return [process.execPath, ...process.execArgv, process.argv[1] as string];
}

/** This very command line. */
export function thisCommand(): string[] {
  return [...tensorloomCommand(), ...process.argv.slice(2)];
}

/** Entry point of the `tensorloom` command. */
import { run } from './program.ts';

process.exitCode = await run(process.argv.slice(2));

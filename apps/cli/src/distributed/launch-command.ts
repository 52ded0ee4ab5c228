/** `tensorloom launch`: ranks of a command of tensorloom, or of any program. */
import { launchRanks } from '@tensorloom/strategies';
import type { GivenLaunch } from './launch-flags.ts';
import { tensorloomCommand } from './rank-command.ts';

const ownCommands: ReadonlySet<string> = new Set([
  'train',
  'evaluate',
  'predict',
  'prepare',
  'verify',
  'doctor',
  'run',
]);

/** Returns the exit code of the whole. @throws TensorloomError `BAD_OPTION` */
export async function launchCommand(words: readonly string[], options: GivenLaunch): Promise<number> {
  const [first = '', ...rest] = words;
  // `tensorloom launch -- tensorloom train …` says the same.
  const own = first === 'tensorloom' ? rest : ownCommands.has(first) ? words : undefined;
  const command = own === undefined ? words : [...tensorloomCommand(), ...own];
  return launchRanks({ ...options, devices: options.devices ?? 1, command });
}

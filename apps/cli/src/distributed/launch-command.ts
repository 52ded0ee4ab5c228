/** `tensorloom launch`: ranks of a command of tensorloom, or of any program. */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { launchRanks } from '@tensorloom/strategies';
import { suggest } from '../config/validate.ts';
import { UsageError } from '../errors.ts';
import { flagOf, type GivenLaunch } from './launch-flags.ts';
import { tensorloomCommand } from './rank-command.ts';

const ownCommands = ['train', 'evaluate', 'predict', 'prepare', 'verify', 'doctor', 'run', 'consolidate'];

/** Returns the exit code of the whole. @throws UsageError for a command that is not there, TensorloomError `BAD_OPTION` */
export async function launchCommand(words: readonly string[], options: GivenLaunch): Promise<number> {
  const [first = '', ...rest] = words;
  const [second = ''] = rest;
  // `tensorloom launch -- tensorloom train …` says the same.
  const own = first === 'tensorloom' ? rest : ownCommands.includes(first) ? words : undefined;
  if (first === 'tensorloom' && !second.startsWith('-') && !ownCommands.includes(second)) refuse(second);
  if (own === undefined && !isProgram(first)) refuse(first);
  const command = own === undefined ? words : [...tensorloomCommand(), ...own];
  return launchRanks({ ...options, devices: options.devices ?? 1, command, optionName: flagOf });
}

/** As a shell finds it. A path is left to the system, which says what is wrong with it. */
function isProgram(name: string): boolean {
  if (name.includes('/')) return true;
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.some((folder) => isExecutable(join(folder, name)));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function refuse(command: string): never {
  throw new UsageError(
    `There is neither a command '${command}' of tensorloom nor a program of that name.${suggest(command, ownCommands)} ` +
      `Commands: ${ownCommands.join(', ')}.`,
  );
}

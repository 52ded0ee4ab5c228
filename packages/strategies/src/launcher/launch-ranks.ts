/** Starts the ranks of this machine, watches over them, restarts them. */
import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import { checkPortIsFree, freePort } from './free-port.ts';
import { forwardSignals, type ForwardedSignals } from './forward-signals.ts';
import { resolveLaunch, type LaunchOptions, type ResolvedLaunch } from './launch-options.ts';
import { rankVariables, type Attempt } from './rank-variables.ts';
import { RankProcess, type RankExit } from './rank-process.ts';
import { signalAll, superviseRanks } from './supervise-ranks.ts';
import { visibleGpus } from './visible-gpus.ts';
import { WatchedSocket } from './watched-socket.ts';

/** The exit code of shells, and of tensorloom, for bad usage. */
const USAGE = 2;

/**
 * Runs `command` once per device, with the variables by which ranks find each other, and waits for all of them.
 *
 * Output lines get the rank before them (with one rank in all it is left alone). SIGINT, SIGTERM and SIGHUP are passed on, a
 * second SIGINT kills. When a rank fails, the others are ended, and all are started anew up to `maxRestarts` times, with a new
 * job id; not after exit code 2, bad usage, which never mends itself. If this process dies, even of SIGKILL, the ranks that watch it (`watchLauncher`) end.
 *
 * On several machines each launcher restarts its own ranks. They meet again since a failure of one rank makes all others fail,
 * so that all launchers count the same attempts; the attempt is part of the job id, so ranks of different attempts never
 * mix. A launcher that was started anew itself counts from 0 and does not fit the others: start all of them anew.
 *
 * @returns 0, or the code of the rank that failed first: its exit code, or 128 + the number of the signal that ended it
 * @throws TensorloomError `BAD_OPTION` for options, for a port in use, and for a program that cannot be started
 */
export async function launchRanks(options: LaunchOptions): Promise<number> {
  const launch = resolveLaunch(options);
  const gpus = visibleGpus(launch.variables);
  const base = jobIdBase(launch);
  const log = (line: string): void => void launch.stderr.write(`tensorloom launch: ${line}\n`);
  const signals = forwardSignals();
  try {
    for (let number = 0; ; number++) {
      const failure = await runAttempt(launch, gpus, `${base}-${number}`, number, signals, log);
      if (signals.received !== null) return failure?.code ?? 0;
      if (failure === null) return 0;
      if (failure.code === USAGE && launch.maxRestarts > 0) {
        log(`no restart: exit code ${USAGE} says that the command line is wrong, which starting anew does not mend.`);
        return failure.code;
      }
      if (number >= launch.maxRestarts) {
        if (launch.maxRestarts > 0) log(`no restart is left of ${launch.maxRestarts}.`);
        return failure.code;
      }
      log(`starting all ranks anew (restart ${number + 1} of ${launch.maxRestarts}).`);
    }
  } finally {
    signals.stop();
  }
}

async function runAttempt(
  launch: ResolvedLaunch,
  gpus: readonly string[],
  jobId: string,
  number: number,
  signals: ForwardedSignals,
  log: (line: string) => void,
): Promise<RankExit | null> {
  const socket = await WatchedSocket.open();
  try {
    const attempt: Attempt = {
      number,
      jobId,
      mainPort: await mainPortOf(launch),
      token: launch.token ?? randomBytes(32).toString('hex'),
      watchedSocket: socket.path,
    };
    // A signal that came before there were ranks.
    if (signals.received !== null)
      return { rank: 0, code: 128 + constants.signals[signals.received], signal: signals.received };
    const ranks = Array.from({ length: launch.devices }, (_, localRank) => startRank(launch, attempt, gpus, localRank));
    signals.to((signal) => signalAll(ranks, signal));
    return await superviseRanks(ranks, { ...launch, isStopping: () => signals.received !== null, log });
  } finally {
    signals.to(() => {});
    await socket.close();
  }
}

function startRank(launch: ResolvedLaunch, attempt: Attempt, gpus: readonly string[], localRank: number): RankProcess {
  const { command, devices, numNodes, nodeRank, stdout, stderr } = launch;
  const rank = nodeRank * devices + localRank;
  const own = stdout === process.stdout && stderr === process.stderr;
  const prefix = devices * numNodes > 1 ? `[rank ${rank}] ` : own ? null : '';
  const variables = rankVariables(launch, attempt, gpus, localRank);
  return new RankProcess({ rank, command, variables, prefix, stdout, stderr });
}

async function mainPortOf({ mainPort, nodeRank, optionName }: ResolvedLaunch): Promise<number> {
  if (mainPort === undefined) return freePort();
  if (nodeRank === 0) await checkPortIsFree(mainPort, optionName('mainPort'));
  return mainPort;
}

/** Random on one machine; on several it comes from what all of them know. */
function jobIdBase({ numNodes, token, mainAddress, mainPort }: ResolvedLaunch): string {
  if (numNodes === 1) return randomBytes(8).toString('hex');
  return createHash('sha256')
    .update(`job ${mainAddress} ${mainPort ?? 0} ${token ?? ''}`)
    .digest('hex')
    .slice(0, 16);
}

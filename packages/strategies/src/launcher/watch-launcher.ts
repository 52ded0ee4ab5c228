/** A rank whose launcher is gone ends at once, even while its main thread computes or waits. */
import { isMainThread, Worker } from 'node:worker_threads';

/** Where the launcher tells its ranks the socket that closes when it dies. */
export const LAUNCHER_SOCKET_VARIABLE = 'TENSORLOOM_LAUNCHER_SOCKET';

let watching = false;

/**
 * Watches the launcher that started this process, if one did: holds a connection to it in a thread of its own, and kills this
 * process (SIGKILL) when that ends, for whatever reason. Importing the package does it; calling it again does no harm.
 */
export function watchLauncher(): void {
  const socket = process.env[LAUNCHER_SOCKET_VARIABLE];
  if (socket === undefined || socket === '' || !isMainThread || watching) return;
  watching = true;
  // Plain JavaScript and no loaders: the thread must be there within milliseconds, whatever the process does.
  const worker = new Worker(WATCH, { eval: true, execArgv: [], workerData: socket });
  worker.unref();
}

/** Removes the socket's folder, which a launcher that was killed could not. */
const WATCH = `
const { connect } = require('node:net');
const { rmSync } = require('node:fs');
const { dirname } = require('node:path');
const { workerData: socket } = require('node:worker_threads');
const end = () => {
  try { rmSync(dirname(socket), { recursive: true, force: true }); } finally { process.kill(process.pid, 'SIGKILL'); }
};
connect(socket).on('error', end).on('close', end).resume();
`;

watchLauncher();

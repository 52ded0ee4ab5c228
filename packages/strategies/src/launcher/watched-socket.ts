/** The launcher's end of the connection by which its ranks notice that it is gone. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Unix sockets have short names. */
const MAX_PATH_BYTES = 100;

const SOCKET = 'launcher';
const PREFIX = 'tensorloom-launch-';
/** A folder this young may be one in which a launcher is about to listen. */
const SETTLED_MS = 60_000;

/** A Unix socket in a folder that only this user can enter. The system closes it with this process, however that ends. */
export class WatchedSocket {
  readonly #folder: string;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  private constructor(folder: string) {
    this.#folder = folder;
    this.#server = createServer((socket) => {
      this.#connections.add(socket);
      socket.on('error', () => {}).on('close', () => this.#connections.delete(socket));
      socket.resume();
    });
  }

  get path(): string {
    return path.join(this.#folder, SOCKET);
  }

  static async open(): Promise<WatchedSocket> {
    const base = Buffer.byteLength(tmpdir()) + 30 > MAX_PATH_BYTES ? '/tmp' : tmpdir();
    await sweep(base);
    const watched = new WatchedSocket(await mkdtemp(path.join(base, PREFIX)));
    await new Promise<void>((resolve, reject) => {
      watched.#server.once('error', reject).listen(watched.path, resolve);
    });
    watched.#server.unref();
    return watched;
  }

  /** Only when all ranks have ended: those that are left would end now. */
  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Removes what launchers have left that were killed, and whose ranks did not watch them: nobody listens there any more. */
async function sweep(base: string): Promise<void> {
  const names = (await readdir(base)).filter((name) => name.startsWith(PREFIX));
  await Promise.all(
    names.map(async (name) => {
      const folder = path.join(base, name);
      try {
        const { mtimeMs } = await stat(folder);
        if (Date.now() - mtimeMs < SETTLED_MS || !(await isAbandoned(path.join(folder, SOCKET)))) return;
        await rm(folder, { recursive: true, force: true });
      } catch {
        // Another user's, or gone already.
      }
    }),
  );
}

/** Whether there is a socket that nobody listens on. */
async function isAbandoned(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(false);
    });
    connection.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
}

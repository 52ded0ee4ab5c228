/** The launcher's end of the connection by which its ranks notice that it is gone. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Unix sockets have short names. */
const MAX_PATH_BYTES = 100;

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
    return path.join(this.#folder, 'launcher');
  }

  static async open(): Promise<WatchedSocket> {
    const base = Buffer.byteLength(tmpdir()) + 30 > MAX_PATH_BYTES ? '/tmp' : tmpdir();
    const watched = new WatchedSocket(await mkdtemp(path.join(base, 'tensorloom-launch-')));
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

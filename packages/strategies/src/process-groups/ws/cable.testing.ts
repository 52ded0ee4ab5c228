/** A cable between two ranks that tests can cut: forwards TCP connections to a port. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class Cable {
  /** Bytes carried so far, both ways. */
  bytes = 0;
  /** Connections that were cut. */
  cuts = 0;
  /** Called as bytes pass. */
  onBytes: () => void = () => {};
  /** Called with what comes from the side that connected. */
  onNear: (data: Buffer) => void = () => {};
  /** Port to which new connections go. */
  target: number;
  #isOut = false;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(target: number) {
    this.target = target;
    this.#server = createServer((near) => {
      if (this.#isOut) return void near.destroy();
      const far = connect({ port: this.target, host: '127.0.0.1' });
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on('data', (data: Buffer) => {
          this.bytes += data.length;
          if (from === near) this.onNear(data);
          if (!to.write(data)) {
            from.pause();
            to.once('drain', () => from.resume());
          }
          this.onBytes();
        });
        from.on('error', () => {});
        from.on('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
    });
  }

  static async to(target: number): Promise<Cable> {
    const cable = new Cable(target);
    await new Promise<void>((resolve) => cable.#server.listen(0, '127.0.0.1', resolve));
    return cable;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Once: new connections go through. */
  cut(): void {
    this.cuts++;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** For good. */
  pull(): void {
    this.#isOut = true;
    this.cut();
  }

  /** Nothing passes, and nobody is told. */
  hold(): void {
    for (const socket of this.#sockets) {
      socket.removeAllListeners('data');
      socket.pause();
    }
  }

  close(): void {
    this.#isOut = true;
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

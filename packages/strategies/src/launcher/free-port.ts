/** A TCP port that nothing listens on. */
import { createServer, type AddressInfo } from 'node:net';

/** One that the system picks on 127.0.0.1. It is free now; whoever listens there next may still find it taken, and says so. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

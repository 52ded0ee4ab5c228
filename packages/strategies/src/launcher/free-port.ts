/** TCP ports that nothing listens on. */
import { createServer, type AddressInfo } from 'node:net';
import { TensorloomError } from '@tensorloom/core/distributed';

/** One that the system picks on 127.0.0.1. It is free now; whoever listens there next may still find it taken, and says so. */
export async function freePort(): Promise<number> {
  return listenBriefly(0);
}

/**
 * @param name of the option that gives the port
 * @throws TensorloomError `BAD_OPTION` if something on this machine listens on `port` already, or this user may not
 */
export async function checkPortIsFree(port: number, name: string): Promise<void> {
  try {
    await listenBriefly(port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const problem =
      code === 'EADDRINUSE' ? 'is in use on this machine' : `cannot be listened on (${code ?? String(error)})`;
    throw new TensorloomError(
      'BAD_OPTION',
      `launch: ${name} ${port} ${problem}; give another one, the same on all machines.`,
      {
        cause: error,
      },
    );
  }
}

async function listenBriefly(port: number): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve);
  });
  const address = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return address.port;
}

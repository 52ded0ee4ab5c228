/** Which address a rank listens on, and under which the others reach it. */
import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { TensorloomError } from '@tensorloom/core/distributed';
import { isLoopback, type WsOptions } from './options.ts';

export interface Addresses {
  readonly bind: string;
  readonly advertise: string;
}

/** @throws TensorloomError `BAD_OPTION` for an interface without an address */
export async function chooseAddresses(options: WsOptions, mainAddress: string, isMain: boolean): Promise<Addresses> {
  const ofInterface = options.interface === undefined ? undefined : addressOf(options.interface);
  const main = mainAddress === 'localhost' ? '127.0.0.1' : mainAddress;
  const local = isLoopback(main) || isMain ? main : await localAddressTowards(main);
  const bind = options.bindAddress ?? ofInterface ?? local;
  return { bind, advertise: options.advertiseAddress ?? ofInterface ?? (isUnspecified(bind) ? local : bind) };
}

function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function addressOf(name: string): string {
  const all = networkInterfaces();
  const found = all[name]?.find(({ family }) => family === 'IPv4') ?? all[name]?.[0];
  if (found === undefined)
    throw new TensorloomError(
      'BAD_OPTION',
      `There is no network interface '${name}' with an address; there are ${Object.keys(all).join(', ')}.`,
    );
  return found.address;
}

/** The address of the interface that the route to `host` leaves by. Nothing is sent. All interfaces where there is no route yet. */
async function localAddressTowards(host: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const end = (address: string) => {
      socket.close();
      resolve(address);
    };
    socket.once('error', () => end('0.0.0.0'));
    socket.connect(9, host, () => end(socket.address().address));
  });
}

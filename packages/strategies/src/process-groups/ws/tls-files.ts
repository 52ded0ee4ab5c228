/** Certificates for connections between ranks. */
import { readFileSync } from 'node:fs';
import { TensorloomError } from '@tensorloom/core/distributed';
import type { WsOptions } from './options.ts';

export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  readonly minVersion: 'TLSv1.3';
}

/** @throws TensorloomError `IO` for a file that cannot be read */
export function readTlsFiles(tls: WsOptions['tls']): TlsFiles | undefined {
  if (tls === undefined) return undefined;
  const read = (what: string, file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw new TensorloomError('IO', `Cannot read the ${what} '${file}': ${(error as Error).message}.`, {
        cause: error,
      });
    }
  };
  return {
    cert: read('certificate', tls.certPath),
    key: read("certificate's key", tls.keyPath),
    ca: read('certificate of the authority', tls.caPath),
    minVersion: 'TLSv1.3',
  };
}

/** A certificate authority and certificates for tests, made by openssl. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';

/** False where openssl is not installed. */
export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** An authority named `name` in `folder`, and a certificate that it signed: the `tls` option. */
export function makeCertificates(folder: string, name: string): { certPath: string; keyPath: string; caPath: string } {
  const file = (suffix: string) => path.join(folder, `${name}-${suffix}.pem`);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...curve,
    '-keyout',
    file('ca-key'),
    '-out',
    file('ca'),
    '-days',
    '2',
    '-subj',
    `/CN=${name} authority`,
  );
  openssl('req', ...curve, '-keyout', file('key'), '-out', file('request'), '-subj', `/CN=${name} rank`);
  openssl(
    'x509',
    '-req',
    '-in',
    file('request'),
    '-CA',
    file('ca'),
    '-CAkey',
    file('ca-key'),
    '-CAcreateserial',
    '-out',
    file('cert'),
    '-days',
    '2',
  );
  return { certPath: file('cert'), keyPath: file('key'), caPath: file('ca') };
}

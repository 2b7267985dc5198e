// Certificates for servers in tests, each made once a process and name.
import { createHash, X509Certificate } from 'node:crypto';
import { generate } from 'selfsigned';

export interface TestCertificate {
  readonly key: string;
  readonly cert: string;
  /** SHA-256 of the certificate, 64 hexadecimal digits. */
  readonly fingerprint: string;
}

export async function makeCertificate(name: string): Promise<TestCertificate> {
  const { private: key, cert } = await generate([{ name: 'commonName', value: name }], { keySize: 2048 });
  const der = new X509Certificate(cert).raw;
  return { key, cert, fingerprint: createHash('sha256').update(der).digest('hex') };
}

// The server's certificate: its own, made at the first start, or one that the administrator names. Clients that no authority vouches to pin
// the fingerprint, so a certificate is never made anew while there is one.
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { generate } from 'selfsigned';
import { replacePrivateFile } from '../agent/keys/private-file.ts';
import { readIfPresent, writeFileAtomic } from '../util/atomic-file.ts';
import { HoldfastError } from '../util/errors.ts';

const DAY_MS = 24 * 3600 * 1000;
const LIFETIME_MS = 30 * 365 * DAY_MS;
const WARN_BEFORE_MS = 30 * DAY_MS;
/** Clocks of clients that are a little behind take it too. */
const BACKDATED_MS = DAY_MS;

export interface CertificatePaths {
  readonly certificate: string;
  readonly key: string;
}

export interface ServerCertificate {
  /** PEM; the leaf first. */
  readonly cert: string;
  readonly key: string;
  /** SHA-256 of the leaf's DER, as `ab:cd:…`. */
  readonly fingerprint: string;
  readonly notAfterMs: number;
}

/** Reads a certificate and its key. @throws `bad-argument` when one cannot be read, is malformed, or they do not belong together. */
export async function loadCertificate(paths: CertificatePaths): Promise<ServerCertificate> {
  const [cert, key] = await Promise.all([readPem(paths.certificate), readPem(paths.key)]);
  let leaf: X509Certificate;
  let belongs: boolean;
  try {
    leaf = new X509Certificate(cert);
    belongs = leaf.checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw unusable(paths, `one of them is no PEM file (${(error as Error).message})`, error);
  }
  if (!belongs) throw unusable(paths, 'they do not belong together');
  return { cert, key, fingerprint: fingerprintOf(leaf), notAfterMs: Date.parse(leaf.validTo) };
}

/** The certificate at these paths; made when there is none, for these host names. @throws as `loadCertificate`. */
export async function ensureSelfSigned(
  paths: CertificatePaths,
  hostNames: readonly string[],
  nowMs: number,
): Promise<ServerCertificate> {
  if ((await readIfPresent(paths.certificate)) === undefined) {
    const { cert, private: key } = await makeSelfSigned(hostNames, nowMs);
    // The key first: a certificate that is there always has its key.
    await replacePrivateFile(paths.key, key, "server's key");
    await writeFileAtomic(paths.certificate, cert);
  }
  return await loadCertificate(paths);
}

/** What to say of a certificate that has expired, or soon will. */
export function expiryWarning({ notAfterMs }: ServerCertificate, nowMs: number): string | undefined {
  if (notAfterMs - nowMs > WARN_BEFORE_MS) return undefined;
  const when = new Date(notAfterMs).toISOString().slice(0, 10);
  const what = notAfterMs <= nowMs ? `has expired on ${when}` : `expires on ${when}`;
  return `the server's certificate ${what}: put a new one in its place, and send the server SIGHUP`;
}

async function makeSelfSigned(hostNames: readonly string[], nowMs: number): Promise<{ cert: string; private: string }> {
  const names = ['localhost', ...hostNames].filter((name, place, all) => all.indexOf(name) === place);
  return await generate(
    [
      { name: 'organizationName', value: 'Holdfast' },
      // A common name has 64 characters at most; what counts are the alternative names.
      { name: 'commonName', value: (names.at(-1) ?? 'localhost').slice(0, 64) },
    ],
    {
      keyType: 'ec',
      curve: 'P-256',
      algorithm: 'sha256',
      notBeforeDate: new Date(nowMs - BACKDATED_MS),
      notAfterDate: new Date(nowMs + LIFETIME_MS),
      extensions: [
        { name: 'basicConstraints', cA: false, critical: true },
        { name: 'keyUsage', digitalSignature: true, critical: true },
        { name: 'extKeyUsage', serverAuth: true },
        {
          name: 'subjectAltName',
          altNames: [
            ...names.map((value) => ({ type: 2 as const, value })),
            { type: 7 as const, ip: '127.0.0.1' },
            { type: 7 as const, ip: '::1' },
          ],
        },
      ],
    },
  );
}

function fingerprintOf(leaf: X509Certificate): string {
  return (createHash('sha256').update(leaf.raw).digest('hex').match(/../g) ?? []).join(':');
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new HoldfastError(
      'bad-argument',
      `${path}, a part of the server's certificate, cannot be read (${(error as Error).message}); put it back, or name another one`,
      { cause: error },
    );
  }
}

function unusable(paths: CertificatePaths, why: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'bad-argument',
    `the certificate ${paths.certificate} and the key ${paths.key} cannot be used: ${why}`,
    { cause },
  );
}

// Which certificate the server shows, read at its start and again when it is told to.
import {
  type CertificatePaths,
  ensureSelfSigned,
  expiryWarning,
  loadCertificate,
  type ServerCertificate,
} from './certificate.ts';
import type { Log } from './log.ts';

/** The certificate that the administrator names, else the server's own. */
export class Certificates {
  readonly #named: CertificatePaths | undefined;
  readonly #own: CertificatePaths;
  readonly #names: readonly string[];
  readonly #log: Log;

  constructor(named: CertificatePaths | undefined, own: CertificatePaths, names: readonly string[], log: Log) {
    this.#named = named;
    this.#own = own;
    this.#names = names;
    this.#log = log;
  }

  async load(): Promise<ServerCertificate> {
    const certificate =
      this.#named === undefined
        ? await ensureSelfSigned(this.#own, this.#names, Date.now())
        : await loadCertificate(this.#named);
    this.warnOfExpiry(certificate);
    return certificate;
  }

  warnOfExpiry(certificate: ServerCertificate): void {
    const warning = expiryWarning(certificate, Date.now());
    if (warning !== undefined) this.#log.warn(warning);
  }
}

// Connections to a server that proved who it is: nothing is written to a socket before its certificate was looked at. With a fingerprint
// that alone counts, without one the authorities of the system.
import type { OnReadOpts } from 'node:net';
import type { TLSSocket } from 'node:tls';
// Its client alone: all of undici, with fetch and all that browsers have, takes 50 ms to load, a tenth of a small backup.
import buildConnector from 'undici/lib/core/connect.js';
import Client from 'undici/lib/dispatcher/client.js';
import { HoldfastError } from '../../util/errors.ts';
import { fingerprintOf, showFingerprint } from './fingerprint.ts';

const CONNECT_TIMEOUT_MS = 20_000;
/** No byte for so long, and the line counts as broken. */
const SILENCE_TIMEOUT_MS = 90_000;
/** The server may take its time for a commit before the first byte of its answer. */
const ANSWER_TIMEOUT_MS = 600_000;

/** What passed through sockets, below HTTP and above TLS. */
export interface WireCounters {
  bytesUp: number;
  bytesDown: number;
}

export class TrustedLines {
  readonly #fingerprint: string | undefined;
  readonly #sockets = new Set<TLSSocket>();
  readonly #ended: WireCounters = { bytesUp: 0, bytesDown: 0 };

  constructor(fingerprint: string | undefined) {
    this.#fingerprint = fingerprint;
  }

  /** A client with one connection to that origin, made when it is needed. Whoever asked closes it. */
  open(origin: string): Client {
    return new Client(origin, {
      pipelining: 1,
      headersTimeout: ANSWER_TIMEOUT_MS,
      bodyTimeout: SILENCE_TIMEOUT_MS,
      keepAliveTimeout: 50_000,
      keepAliveMaxTimeout: 50_000,
      connect: this.#connector(origin, {}),
    });
  }

  /** A connection to that origin, for whoever reads it by himself. Whoever asked destroys it. @throws `server-untrusted`, what the system says. */
  connect(origin: string, onread: OnReadOpts, signal: AbortSignal): Promise<TLSSocket> {
    const { protocol, host, hostname, port } = new URL(origin);
    const connect = this.#connector(origin, { onread });
    return new Promise((resolve, reject) => {
      const stop = (): void => void socket.destroy(signal.reason as Error);
      const bare = hostname.replace(/^\[|\]$/g, '');
      const socket = connect({ protocol, host, hostname: bare, port }, (error, made) => {
        signal.removeEventListener('abort', stop);
        if (made === null) reject(error as Error);
        else resolve(made as TLSSocket);
      }) as unknown as TLSSocket;
      signal.addEventListener('abort', stop, { once: true });
    });
  }

  /** Makes connections of which nothing is heard before the server proved who it is. */
  #connector(origin: string, options: { readonly onread?: OnReadOpts }): buildConnector.connector {
    const connect = buildConnector({
      ...options,
      timeout: CONNECT_TIMEOUT_MS,
      rejectUnauthorized: this.#fingerprint === undefined,
      // A resumed session shows no certificate that could be compared.
      maxCachedSessions: 0,
    });
    return (where, callback) =>
      connect(where, (error, socket) => {
        const refusal = error === null ? this.#refusal(socket as TLSSocket, origin) : untrusted(error, origin);
        if (error === null && refusal === undefined) {
          this.#count(socket as TLSSocket);
          callback(null, socket);
          return;
        }
        socket?.destroy();
        callback(refusal ?? (error as Error), null);
      });
  }

  get counters(): WireCounters {
    const sum = { ...this.#ended };
    for (const socket of this.#sockets) add(sum, socket);
    return sum;
  }

  /** Ends all connections at once, also those that became something else than HTTP. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #count(socket: TLSSocket): void {
    this.#sockets.add(socket);
    socket.once('close', () => {
      if (this.#sockets.delete(socket)) add(this.#ended, socket);
    });
  }

  #refusal(socket: TLSSocket, origin: string): HoldfastError | undefined {
    if (this.#fingerprint === undefined) return undefined;
    const certificate = socket.getPeerCertificate() as { raw?: Uint8Array };
    const seen = certificate.raw === undefined ? undefined : fingerprintOf(certificate.raw);
    if (seen === this.#fingerprint) return undefined;
    return new HoldfastError(
      'server-untrusted',
      `the certificate of ${origin} has the fingerprint ${seen === undefined ? '(none)' : showFingerprint(seen)}, not ${showFingerprint(this.#fingerprint)}; nothing was sent to it. If the server got a new certificate, give the new fingerprint`,
      { data: { fingerprint: seen ?? null } },
    );
  }
}

function add(sum: WireCounters, socket: TLSSocket): void {
  sum.bytesUp += socket.bytesWritten;
  sum.bytesDown += socket.bytesRead;
}

/** OpenSSL's and Node's words for a certificate that nobody vouches for. */
const DISTRUST = /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_CERT_|INVALID_CA|PATH_LENGTH|HOSTNAME_MISMATCH)/;

function untrusted(error: Error, origin: string): HoldfastError | undefined {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== 'string' || !DISTRUST.test(code)) return undefined;
  return new HoldfastError(
    'server-untrusted',
    `no authority of this system vouches for the certificate of ${origin} (${error.message}); if it is your server's own, give its fingerprint with --fingerprint`,
    { cause: error },
  );
}

// A disk that an NBD server exports. The control connection stays open for block status; workers make their own ones.
import { HoldfastError } from '../../util/errors.ts';
import { type NbdAddress, NbdClient, type NbdConnectOptions } from '../nbd/client.ts';
import { STATE_ZERO } from '../nbd/protocol.ts';
import type { DiskReader, DiskSource, Range, SourceLocator } from './source.ts';

const ALLOCATION = 'base:allocation';

type NbdLocator = Extract<SourceLocator, { type: 'nbd' }>;

/** An NBD locator for a server on TCP: `socketPath` is empty, host and port stand beside it. */
export interface NbdTcpLocator extends NbdLocator {
  readonly socketPath: '';
  readonly host: string;
  readonly port: number;
}

export function nbdLocator(address: NbdAddress, exportName: string): NbdLocator | NbdTcpLocator {
  return 'socketPath' in address
    ? { type: 'nbd', socketPath: address.socketPath, exportName }
    : { type: 'nbd', socketPath: '', host: address.host, port: address.port, exportName };
}

function addressOf(locator: NbdLocator | NbdTcpLocator): NbdAddress {
  return 'host' in locator ? { host: locator.host, port: locator.port } : { socketPath: locator.socketPath };
}

export interface NbdSourceOptions {
  label: string;
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
}

export async function openNbdSource(
  address: NbdAddress,
  exportName: string,
  options: NbdSourceOptions,
): Promise<DiskSource> {
  const { label, signal, timeoutMs = 60_000 } = options;
  const connect: NbdConnectOptions = { ...address, exportName, signal, timeoutMs, metaContexts: [ALLOCATION] };
  return new NbdSource(label, connect, nbdLocator(address, exportName), await NbdClient.connect(connect));
}

class NbdSource implements DiskSource {
  readonly sizeBytes: number;
  readonly label: string;
  readonly locator: NbdLocator;
  readonly #connect: NbdConnectOptions;
  readonly #client: NbdClient;

  constructor(label: string, connect: NbdConnectOptions, locator: NbdLocator, client: NbdClient) {
    this.label = label;
    this.locator = locator;
    this.sizeBytes = client.sizeBytes;
    this.#connect = connect;
    this.#client = client;
  }

  /** Throws `source-failed` when the server cannot tell although it offered to: then its data is not to be trusted either. */
  async *zeroRanges(signal: AbortSignal): AsyncIterable<Range> {
    if (!this.#client.contexts.includes(ALLOCATION)) return;
    let open: { offset: number; length: number } | undefined;
    for await (const { offset, length, flags } of this.#client.blockStatus(ALLOCATION, 0, this.sizeBytes)) {
      if (signal.aborted) throw new HoldfastError('aborted', `${this.label}: aborted`, { cause: signal.reason });
      const isZero = (flags & STATE_ZERO) !== 0;
      // Extents with and without the hole flag read alike.
      if (open && isZero) open.length += length;
      else if (isZero) open = { offset, length };
      if (open && !isZero) {
        yield open;
        open = undefined;
      }
    }
    if (open) yield open;
  }

  /** Asks over a new connection: an open one keeps the size it was told. */
  async checkUnchanged(): Promise<void> {
    const { metaContexts: _, ...connect } = this.#connect;
    const client = await NbdClient.connect(connect as NbdConnectOptions);
    await client.close();
    if (client.sizeBytes === this.sizeBytes) return;
    const message = `${this.label} changed its size from ${this.sizeBytes} to ${client.sizeBytes} bytes during the backup; repeat it`;
    throw new HoldfastError('source-changed', message, { data: { before: this.sizeBytes, now: client.sizeBytes } });
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}

class NbdReader implements DiskReader {
  readonly #client: NbdClient;

  constructor(client: NbdClient) {
    this.#client = client;
  }

  get sizeBytes(): number {
    return this.#client.sizeBytes;
  }

  readInto(offset: number, target: Uint8Array): Promise<void> {
    if (offset + target.length <= this.sizeBytes) return this.#client.read(offset, target);
    const message = `${this.#client.label}: the disk ends at byte ${this.sizeBytes}, before ${offset + target.length}; it has become smaller`;
    return Promise.reject(
      new HoldfastError('source-changed', message, { data: { offset, sizeBytes: this.sizeBytes } }),
    );
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** A connection of its own. `target`s must stay in place until `readInto` settles; several may be under way. */
export async function openNbdReader(locator: NbdLocator): Promise<DiskReader> {
  return new NbdReader(await NbdClient.connect({ ...addressOf(locator), exportName: locator.exportName }));
}

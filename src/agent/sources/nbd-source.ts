// A disk that an NBD server exports. The control connection stays open for block status; workers make their own ones.
import { HoldfastError } from '../../util/errors.ts';
import { type NbdAddress, NbdClient, type NbdConnectOptions, STATUS_STEP_BYTES } from '../nbd/client.ts';
import { readPace, type SharedPace } from '../nbd/pace.ts';
import { STATE_ZERO } from '../nbd/protocol.ts';
import { stepsOf } from './ranges.ts';
import type { DiskReader, DiskSource, Range, SourceLocator } from './source.ts';

const ALLOCATION = 'base:allocation';

type NbdLocator = Extract<SourceLocator, { type: 'nbd' }>;

/** An NBD locator for a server on TCP: `socketPath` is empty, host and port stand beside it. */
export interface NbdTcpLocator extends NbdLocator {
  readonly socketPath: '';
  readonly host: string;
  readonly port: number;
}

export function nbdLocator(
  address: NbdAddress,
  exportName: string,
  { label, pace, timeoutMs }: Pick<NbdSourceOptions, 'label' | 'pace' | 'timeoutMs'>,
): NbdLocator | NbdTcpLocator {
  const more = { label, ...(pace !== undefined && { pace }), ...(timeoutMs !== undefined && { timeoutMs }) };
  return 'socketPath' in address
    ? { type: 'nbd', socketPath: address.socketPath, exportName, ...more }
    : { type: 'nbd', socketPath: '', host: address.host, port: address.port, exportName, ...more };
}

function addressOf(locator: NbdLocator | NbdTcpLocator): NbdAddress {
  return 'host' in locator ? { host: locator.host, port: locator.port } : { socketPath: locator.socketPath };
}

export interface NbdSourceOptions {
  label: string;
  signal?: AbortSignal | undefined;
  /** For an answer, also to the readers; default 60 s. */
  timeoutMs?: number | undefined;
  pace?: SharedPace | undefined;
  /** What is to be believed of the zeros that the server has just told of a range; all of it when it is missing. */
  believed?: (zeros: Range[], range: Range) => Promise<Range[]>;
  /** What ends with the source. */
  alsoClose?: () => Promise<void>;
}

export async function openNbdSource(
  address: NbdAddress,
  exportName: string,
  options: NbdSourceOptions,
): Promise<DiskSource> {
  const { label, signal, timeoutMs, pace } = options;
  const { believed = async (zeros) => zeros, alsoClose = async () => {} } = options;
  const connect: NbdConnectOptions = { ...address, exportName, label, signal, timeoutMs, metaContexts: [ALLOCATION] };
  const locator = nbdLocator(address, exportName, { label, pace, timeoutMs });
  return new NbdSource(label, connect, locator, await NbdClient.connect(connect), { believed, alsoClose });
}

/** A connection that tells zeros only; nothing is said where the server cannot tell. */
export async function connectForZeros(
  address: NbdAddress,
  exportName: string,
  options: { label: string; signal: AbortSignal },
): Promise<NbdClient> {
  return await NbdClient.connect({ ...address, exportName, ...options, metaContexts: [ALLOCATION] });
}

/** Ascending; some may touch. Throws `source-failed` when the server cannot tell although it offered to. */
export async function zerosWithin(client: NbdClient, { offset, length }: Range): Promise<Range[]> {
  const zeros: Range[] = [];
  if (!client.contexts.includes(ALLOCATION)) return zeros;
  for await (const extent of client.blockStatus(ALLOCATION, offset, length))
    if ((extent.flags & STATE_ZERO) !== 0) zeros.push({ offset: extent.offset, length: extent.length });
  return zeros;
}

type NbdSourceHooks = Required<Pick<NbdSourceOptions, 'believed' | 'alsoClose'>>;

class NbdSource implements DiskSource {
  readonly sizeBytes: number;
  readonly label: string;
  readonly locator: NbdLocator;
  readonly #connect: NbdConnectOptions;
  readonly #client: NbdClient;
  readonly #hooks: NbdSourceHooks;

  constructor(
    label: string,
    connect: NbdConnectOptions,
    locator: NbdLocator,
    client: NbdClient,
    hooks: NbdSourceHooks,
  ) {
    this.label = label;
    this.locator = locator;
    this.sizeBytes = client.sizeBytes;
    this.#connect = connect;
    this.#client = client;
    this.#hooks = hooks;
  }

  /** Throws `source-failed` when the server cannot tell although it offered to: then its data is not to be trusted either. */
  async *zeroRanges(
    signal: AbortSignal,
    within: readonly Range[] = [{ offset: 0, length: this.sizeBytes }],
  ): AsyncIterable<Range> {
    let open: Range | undefined;
    for (const step of stepsOf(within, STATUS_STEP_BYTES)) {
      if (signal.aborted) throw new HoldfastError('aborted', `${this.label}: aborted`, { cause: signal.reason });
      for (const range of await this.#hooks.believed(await zerosWithin(this.#client, step), step)) {
        if (open !== undefined && open.offset + open.length === range.offset) {
          open = { offset: open.offset, length: open.length + range.length };
          continue;
        }
        if (open !== undefined) yield open;
        open = range;
      }
    }
    if (open !== undefined) yield open;
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
    await Promise.all([this.#client.close(), this.#hooks.alsoClose()]);
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

  giveUp(): void {
    this.#client.giveUp();
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** A connection of its own. `target`s must stay in place until `readInto` settles; several may be under way. */
export async function openNbdReader(locator: NbdLocator): Promise<DiskReader> {
  const { exportName, label, pace, timeoutMs } = locator;
  const paced = pace === undefined ? {} : { pace: readPace(pace) };
  return new NbdReader(await NbdClient.connect({ ...addressOf(locator), exportName, label, timeoutMs, ...paced }));
}

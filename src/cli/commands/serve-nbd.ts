// holdfast serve-nbd: the disks of snapshots as read-only NBD exports, for qemu-img, nbdcopy, a VM's backing file, or a mount.
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { NbdAddress } from '../../agent/nbd/channel.ts';
import { NbdServer } from '../../agent/nbd/server.ts';
import { NodeCache } from '../../agent/serve/disk-node.ts';
import { MIN_CACHE_BYTES, PieceCache } from '../../agent/serve/piece-cache.ts';
import { ServePool } from '../../agent/serve/serve-pool.ts';
import type { DataKey } from '../../chunker/data-key.ts';
import type { ReadDatastore } from '../../datastore/read-datastore.ts';
import { HoldfastError } from '../../util/errors.ts';
import type { WorkerPool } from '../../util/worker-pool.ts';
import { addReadKeyOptions, type KeyOptions, readKey } from '../client-key.ts';
import { interruptSignal } from '../interrupt.ts';
import { LocalRepository } from '../local-repository.ts';
import { withReadDatastore } from '../local-store.ts';
import { NbdExports, parseExport } from '../nbd-exports.ts';
import { pairs, print } from '../output.ts';
import { namespaceOf, repositoryPath, startPool, warn, workerCount } from '../repository.ts';
import { ServingView } from '../serving-view.ts';
import { wholeNumber } from '../whole-number.ts';

interface ServeNbdOptions extends KeyOptions {
  readonly socket?: string;
  readonly listen?: string;
  readonly insecureNetwork?: boolean;
  readonly export?: readonly string[];
  readonly cacheMib?: string;
  readonly idleTimeout?: string;
}

const MiB = 1024 * 1024;
const DEFAULT_CACHE_MIB = 256;
const MAX_CACHE_MIB = 65_536;
/** Lists and pages: those of 25 GiB at 64 KiB a chunk. */
const NODE_CACHE_BYTES = 64 * MiB;
const DEFAULT_ADDRESS = '127.0.0.1:10809';
const MAX_IDLE_SECONDS = 1_000_000;

export function addServeNbdCommand(program: Command): void {
  addReadKeyOptions(program.command('serve-nbd'))
    .description('serve disks of snapshots, read-only, over NBD')
    .option('--socket <PATH>', 'listen on a unix socket (of this user alone)')
    .option('--listen <HOST:PORT>', `listen on TCP (default: ${DEFAULT_ADDRESS}, without --socket)`)
    .option('--insecure-network', 'listen beyond this machine: NBD knows neither passwords nor encryption')
    .option('--export <SNAPSHOT:ARCHIVE...>', 'serve these disks only, such as vm/101/latest:disk0.img')
    .option('--cache-mib <MIB>', `memory for decoded data (default: ${DEFAULT_CACHE_MIB})`)
    .option('--idle-timeout <SECONDS>', 'end connections that ask for nothing for so long (default: never)')
    .option('--workers <N>', 'worker threads (default: one per processor)')
    .action(async (_, command: Command) => await serve(command.optsWithGlobals()));
}

async function serve(options: ServeNbdOptions): Promise<void> {
  const address = parseAddress(options);
  const only = options.export?.map(parseExport);
  const cacheMib = wholeNumber(
    '--cache-mib',
    options.cacheMib ?? `${DEFAULT_CACHE_MIB}`,
    MIN_CACHE_BYTES / MiB,
    MAX_CACHE_MIB,
  );
  const idleMs = wholeNumber('--idle-timeout', options.idleTimeout ?? '0', 0, MAX_IDLE_SECONDS) * 1000;
  const workers = workerCount(options);
  const key = await readKey(options);
  const interrupt = interruptSignal();
  try {
    await withReadDatastore(repositoryPath(options), async (store) => {
      const pool = startPool(workers, () => {});
      try {
        const exports = await prepareExports(store, pool, options, only, cacheMib * MiB, key);
        // A name that is wrong is found now, and not by the first client.
        for (const name of only ?? []) await exports.find(name);
        const server = await NbdServer.listen({ address, exports, limits: { idleMs }, report: warn });
        try {
          announce(options, server.address, only);
          await untilAborted(interrupt.signal);
        } finally {
          await server.close();
        }
      } finally {
        await pool.close();
      }
    });
  } finally {
    interrupt.stop();
  }
  throw new HoldfastError(
    'aborted',
    `${(interrupt.signal.reason as Error).message.split(';')[0]}; no disk is served any more`,
  );
}

async function prepareExports(
  store: ReadDatastore,
  pool: WorkerPool,
  options: ServeNbdOptions,
  only: readonly string[] | undefined,
  cacheBytes: number,
  key: DataKey | undefined,
): Promise<NbdExports> {
  const ns = namespaceOf(options);
  const slab = new SharedArrayBuffer(cacheBytes);
  const threads = await ServePool.start(pool, slab);
  const view = await ServingView.open(store, pool, ns, warn, key);
  const environment = {
    pieces: new PieceCache(slab, (work) => threads.load(work)),
    nodes: new NodeCache(NODE_CACHE_BYTES),
    read: threads.read.bind(threads),
  };
  const repository = new LocalRepository(store);
  return new NbdExports({ store, repository, ns, common: options, key, view, environment, only, report: warn });
}

/** Said once it can be connected to: scripts wait for this line. */
function announce(options: ServeNbdOptions, address: NbdAddress, only: readonly string[] | undefined): void {
  const uri =
    'socketPath' in address
      ? `nbd+unix:///NAME?socket=${address.socketPath}`
      : `nbd://${isIP(address.host) === 6 ? `[${address.host}]` : address.host}:${address.port}/NAME`;
  const value = { ...address, uri, exports: only ?? null };
  print(options.outputFormat, value, () =>
    pairs([
      ['listening', uri],
      ['serving', only === undefined ? 'every disk: vm/101/latest/disk0.img and the like' : only.join(', ')],
    ]),
  );
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
}

/** @throws `bad-argument` for what is no address, and for one that others reach without --insecure-network. */
function parseAddress(options: ServeNbdOptions): NbdAddress {
  if (options.socket !== undefined && options.listen !== undefined)
    throw new HoldfastError('bad-argument', 'give --socket or --listen, not both');
  if (options.socket !== undefined) return { socketPath: resolve(options.socket) };
  const text = options.listen ?? DEFAULT_ADDRESS;
  const parts = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = parts?.[1] ?? parts?.[2];
  const port = Number(parts?.[3]);
  if (host === undefined || port > 65_535)
    throw new HoldfastError(
      'bad-argument',
      `--listen takes HOST:PORT, such as ${DEFAULT_ADDRESS} or [::1]:10809, not ${JSON.stringify(text)}`,
    );
  const isLoopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  if (!isLoopback && options.insecureNetwork !== true)
    throw new HoldfastError(
      'bad-argument',
      `${host} can be reached from other machines, and NBD asks nobody who they are: everyone there could read every disk. Listen on 127.0.0.1 or a socket and use a tunnel, or give --insecure-network`,
    );
  return { host, port };
}

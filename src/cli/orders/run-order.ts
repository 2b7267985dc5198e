// Runs an order of the server with the code of the commands backup and restore, of paths or of guests, against the server's own repository, and only on paths that
// this host allows.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentConfig } from '../../agent/service/agent-config.ts';
import { AllowedPlaces } from '../../agent/service/allowed-places.ts';
import type { OrderReport, RunOrder } from '../../agent/service/order-desk.ts';
import { parseDiskSpec } from '../../agent/sources/disk-spec.ts';
import { type DetectedFormat, readFormat } from '../../agent/sources/image-format.ts';
import { ZSTD_LEVELS } from '../../schema/compression.ts';
import { archiveKind } from '../../schema/names.ts';
import { formatRepositoryAddress } from '../../transport/client/repository-address.ts';
import type { BackupOrder, Order, RestoreOrder } from '../../transport/control/orders.ts';
import { HoldfastError, systemCode } from '../../util/errors.ts';
import type { KeyOptions } from '../client-key.ts';
import { performBackup } from '../commands/backup.ts';
import { performRestore } from '../commands/restore.ts';
import type { Surroundings } from '../surroundings.ts';
import { runVmBackupOrder, runVmRestoreOrder } from './guest-orders.ts';

/** Of a backup whose server was started anew under it. */
const MAX_ATTEMPTS = 3;

/** `stateDirectory` is the agent's. */
export function orderRunner(config: AgentConfig, stateDirectory: string): RunOrder {
  const readable = new AllowedPlaces('allowBackup', config.allowBackup);
  const writable = new AllowedPlaces('allowRestore', config.allowRestore);
  // Nothing of the user who started the agent: its own token, and no other remotes.
  const env = { HOLDFAST_TOKEN_SECRET: config.secret, HOLDFAST_REMOTES: join(stateDirectory, 'remotes.json') };
  const perform = async (order: Order, around: Surroundings): Promise<void> => {
    switch (order.kind) {
      case 'backup':
        return await againAfterRestart(around, async () => await runBackupOrder(order, config, readable, around));
      case 'restore':
        return await runRestoreOrder(order, config, writable, around);
      case 'vm-backup': {
        const attempt = async () => await runVmBackupOrder(order, config, common(order, config), around);
        return await againAfterRestart(around, attempt);
      }
      case 'vm-restore':
        return await runVmRestoreOrder(order, config, common(order, config), around);
    }
  };
  return async (order, report) => {
    const { around, told } = reporting(env, report);
    await perform(order, around);
    return told();
  };
}

/** Nobody is there to run it again as the error says: what was stored is there, and goes into the next attempt. */
async function againAfterRestart(around: Surroundings, attempt: () => Promise<void>): Promise<void> {
  for (let left = MAX_ATTEMPTS - 1; ; left--) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'session-gone' || left === 0) throw error;
      around.warn(`${error.message}; the backup begins anew`);
    }
  }
}

async function runBackupOrder(
  order: BackupOrder,
  config: AgentConfig,
  readable: AllowedPlaces,
  around: Surroundings,
): Promise<void> {
  const archives = await Promise.all(order.archives.map((text) => allowedArchive(text, readable)));
  const since = order['changed-since'];
  await performBackup(
    archives,
    {
      ...common(order, config),
      group: order.group,
      compressionLevel: String(order['compression-level'] ?? ZSTD_LEVELS.default),
      changeDetection: order['change-detection'] ?? 'metadata',
      ...(since !== undefined && { changedSince: await readable.resolve(since) }),
      ...(order.time !== undefined && { time: order.time }),
      ...(order.exclude !== undefined && { exclude: order.exclude }),
      ...(order['exclude-preset'] !== undefined && { excludePreset: order['exclude-preset'] }),
      ...(order['include-dev'] !== undefined && { includeDev: order['include-dev'] }),
      ...(order['all-file-systems'] !== undefined && { allFileSystems: order['all-file-systems'] }),
      ...(order['map-uid'] !== undefined && { mapUid: order['map-uid'] }),
      ...(order['map-gid'] !== undefined && { mapGid: order['map-gid'] }),
      ...(order['limit-upload'] !== undefined && { limitUpload: String(order['limit-upload']) }),
    },
    around,
  );
}

async function runRestoreOrder(
  order: RestoreOrder,
  config: AgentConfig,
  writable: AllowedPlaces,
  around: Surroundings,
): Promise<void> {
  const target = await writable.resolve(order.target);
  await performRestore(
    order.snapshot,
    order.archive,
    target,
    {
      ...common(order, config),
      damaged: order.damaged ?? 'refuse',
      ...(order.tar === true && { tar: target }),
      ...(order.zstd !== undefined && { zstd: order.zstd }),
      ...(order.overwrite !== undefined && { overwrite: order.overwrite }),
      ...(order.existing !== undefined && { existing: order.existing }),
      ...(order.path !== undefined && { path: order.path }),
      ...(order.include !== undefined && { include: order.include }),
      ...(order.devices !== undefined && { devices: order.devices }),
      ...(order['map-uid'] !== undefined && { mapUid: order['map-uid'] }),
      ...(order['map-gid'] !== undefined && { mapGid: order['map-gid'] }),
      ...(order['limit-download'] !== undefined && { limitDownload: String(order['limit-download']) }),
    },
    around,
  );
}

function common({ store, ns, workers }: Order, config: AgentConfig): KeyOptions {
  const { host, port, user, token, fingerprint, keyFile, passphraseFile } = config;
  return {
    repository: formatRepositoryAddress({ host, port, user, token, store }),
    outputFormat: 'json',
    // An empty text is no key: that of the environment is not the agent's.
    keyfile: keyFile ?? '',
    ...(fingerprint !== null && { fingerprint }),
    ...(passphraseFile !== undefined && { passphraseFile }),
    ...(ns !== undefined && { ns }),
    ...(workers !== undefined && { workers: String(workers) }),
  };
}

/** The archive with its path resolved. @throws `not-allowed`, `bad-argument`. */
export async function allowedArchive(text: string, places: AllowedPlaces): Promise<string> {
  const cut = text.indexOf(':');
  const [name, path] = [text.slice(0, Math.max(0, cut)), text.slice(cut + 1)];
  // What is no archive at all is refused by the command, in its words.
  if (cut <= 0 || path === '') return text;
  const kind = archiveKind(name);
  if (path === '-' || path === 'tar:-')
    throw new HoldfastError('bad-argument', `${name} cannot come from standard input: an agent has none`);
  if (kind === 'blob') return `${name}:${await places.resolve(path)}`;
  if (kind === 'tree')
    return path.startsWith('tar:')
      ? `${name}:tar:${await places.resolve(path.slice('tar:'.length))}`
      : `${name}:${await places.resolve(path)}`;
  const disk = parseDiskSpec(path);
  if (disk.kind === 'nbd') {
    if (places.allowsAll) return text;
    throw places.refusal(path, 'it is no file, and allowBackup in its agent.json does not allow everything');
  }
  const real = await places.resolve(disk.path);
  if (!places.allowsAll) requireAlone(real, disk.format, places);
  return `${name}:${disk.format === undefined ? '' : `${formatPrefix(path)}:`}${real}`;
}

/**
 * An image may name other files that are read with it, and a guest may have written such a header on its raw disk. Formats of which only the
 * order says that they are there are not believed: nobody of this host confirms them.
 */
function requireAlone(path: string, format: string | undefined, places: AllowedPlaces): void {
  let found: DetectedFormat;
  try {
    const stat = statSync(path);
    // A pipe would be waited for.
    if (!stat.isFile() && !stat.isBlockDevice()) return;
    found = readFormat(path);
  } catch (error) {
    // One that cannot be read is told by the backup.
    if (systemCode(error) !== undefined) return;
    throw error;
  }
  if (format === 'raw') return;
  const why =
    format !== undefined && format !== found.driver ? `it is no ${format} image by its first bytes` : undefined;
  const refers =
    found.refersTo === undefined ? undefined : `it is a ${found.driver} image that refers to ${found.refersTo}`;
  const reason = why ?? refers;
  if (reason !== undefined)
    throw places.refusal(path, `${reason}, and allowBackup in its agent.json does not allow everything`);
}

/** `qcow2` of `qcow2:/disk`. */
function formatPrefix(spec: string): string {
  return spec.slice(0, spec.indexOf(':'));
}

/** What a command tells, as lines of the order's log; its result is kept. */
function reporting(env: NodeJS.ProcessEnv, report: OrderReport): { around: Surroundings; told: () => unknown } {
  let result: unknown = null;
  return {
    around: {
      isOrder: true,
      env,
      signal: report.signal,
      // Whoever started the agent may have left a terminal behind: no order waits for somebody there.
      openTerminal: () => undefined,
      warn: (message) => report.warn(message),
      note: (message) => report.log(message),
      onProgress: (what, bytesDone, bytesTotal) => report.progress(what, bytesDone, bytesTotal),
      endProgress: () => {},
      tell: (value, text) => {
        result = value;
        report.log(text(value));
      },
    },
    told: () => result,
  };
}

// Backups of a test node's guests, and their snapshots as restores read them.
import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { BackupResult } from '../../../src/agent/backup/run-backup.ts';
import { backupVm, type VmBackupRequest } from '../../../src/agent/qemu/backup-vm.ts';
import type { VmSnapshot } from '../../../src/agent/qemu/restore-source.ts';
import { runRestore } from '../../../src/agent/restore/run-restore.ts';
import type { DataKey } from '../../../src/chunker/data-key.ts';
import type { StoredObject } from '../../../src/chunker/object.ts';
import { targetOf } from '../../../src/guests/bitmaps/bitmap-names.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import type { Manifest } from '../../../src/schema/manifest.ts';
import { formatTime, parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { run } from '../../../src/util/run.ts';
import { NO_SIGNAL, type OpenStore, OWNER } from '../store.ts';
import { KeptReport, type TestNode } from './vm-node.ts';

/** Fills parts of a stopped guest's disk with random bytes: MiB numbers. The rest stays a hole. */
export async function fillDisk(node: TestNode, id: GuestId, key: string, mebibytes: readonly number[]): Promise<void> {
  const { config } = await node.node.configs.read(id);
  const { path, format } = await node.node.storages.volume((config.values.get(key) as string).split(',')[0] as string);
  const data = join(node.path, 'fill');
  const file = await open(data, 'w');
  await file.write(randomBytes(1 << 20));
  await file.close();
  for (const at of mebibytes) {
    if (format === 'raw') {
      const disk = await open(path, 'r+');
      await disk.write(randomBytes(1 << 20), 0, 1 << 20, at << 20);
      await disk.close();
    } else await run('qemu-io', ['-f', 'qcow2', '-c', `write -s ${data} ${at}M 1M`, path]);
  }
}

/** A backup of the guest as it is, running or stopped. */
export async function backUp(
  node: TestNode,
  open: OpenStore,
  id: GuestId,
  options: { key?: DataKey; report?: KeptReport } = {},
): Promise<BackupResult> {
  const group = parseGroup(`vm/${id}`);
  const ns = parseNamespace('');
  const { key, report = new KeptReport() } = options;
  const request: VmBackupRequest = {
    node: node.node,
    id,
    mode: 'snapshot',
    target: targetOf(open.store.config.store, ns, group),
    fleeceStorage: undefined,
    fleeceLimitBytes: undefined,
    bytesPerSecond: undefined,
    report,
    signal: NO_SIGNAL,
    backup: { group, time: undefined, key, averageBytes: 65536, stdin: process.stdin, onProgress: () => {} },
  };
  const session = { ns, group, owner: OWNER, compressionLevel: 1, key };
  return await backupVm(request, open.pool, async () => await open.store.openSession(session));
}

/** The snapshot as a restore reads it from the store that made it. */
export function snapshotOf(open: OpenStore, { client, server }: Manifest): VmSnapshot {
  return {
    name: `${client.backup}/${formatTime(server.time)}`,
    archives: client.archives,
    space: server.space,
    pool: open.pool,
    get: (space, id) => open.pool.call<StoredObject>(0, 'store.read', { space, id }),
  };
}

/** One archive of a snapshot as a file. */
export async function archiveFile(node: TestNode, snapshot: VmSnapshot, name: string): Promise<string> {
  const archive = snapshot.archives.find((each) => each.name === name);
  if (archive === undefined) throw new Error(`no archive ${name}`);
  const target = join(node.path, `archive-${name}`);
  const work = { archive, space: snapshot.space, target, overwrite: true, zeroLost: false, stdout: process.stdout };
  await runRestore({ ...work, signal: NO_SIGNAL, onProgress: () => {} }, snapshot.pool, snapshot.get);
  return target;
}

/** Throws when the disk's bytes are not the archive's. */
export async function requireSame(node: TestNode, id: GuestId, key: string, snapshot: VmSnapshot): Promise<void> {
  const copy = await node.rawCopy(id, key);
  const whole = await archiveFile(node, snapshot, `drive-${key}.img`);
  await run('cmp', ['--', copy, whole]);
}

// A real guest whose files get encrypted while it runs: its next backup is an anomaly, the ones before it stay, and hold the files as they were.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { planPrune } from '../../../src/datastore/prune/plan.ts';
import { removalsOf, removePruned } from '../../../src/datastore/prune/prune-operation.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { parseGroup, parseNamespace } from '../../../src/schema/names.ts';
import { run } from '../../../src/util/run.ts';
import type { GuestPort } from '../../support/guests/guest-port.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { NO_SIGNAL } from '../../support/store.ts';
import { VmBackups } from './vm-backups.ts';

const FILES = 80;
const FILE_BYTES = 1 << 20;
const ROOT = parseNamespace('');
const WORK = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };

/** A table as people keep them: it compresses to some tenth. */
function document(number: number): string {
  const rows: string[] = [];
  for (let row = 0; rows.length * 64 < FILE_BYTES; row++)
    rows.push(
      `${number};${row};${(row * 7919 * (number + 1)) % 100003};paid by invoice, delivered to the office`.padEnd(63),
    );
  return `${rows.join('\n')}\n`;
}

const skip = await reasonToSkipGuest('mke2fs', 'debugfs');
suite('a guest whose files get encrypted', { skip, timeout: 240_000 }, () => {
  let vms: VmBackups;
  let id: GuestId;
  let port: GuestPort;
  let disk: string;

  before(async () => {
    vms = await VmBackups.create();
    id = await vms.addVm(158, { disks: { scsi0: { format: 'raw', sizeMiB: 160 } } });
    const documents = join(vms.node.path, 'guest', 'documents');
    mkdirSync(documents, { recursive: true });
    for (let n = 0; n < FILES; n++) writeFileSync(join(documents, `${n}.csv`), document(n));
    const { config } = await vms.node.node.configs.read(id);
    const { path } = await vms.node.node.storages.volume(config.values.get('scsi0')?.split(',')[0] as string);
    await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', join(vms.node.path, 'guest'), path]);
    await startVm(vms.node.node, id, {}, new KeptReport());
    port = await vms.node.port();
    const { disks } = (await port.ask('disks')) as unknown as { disks: { name: string }[] };
    disk = disks[0]?.name as string;
    await port.ask(`mount ${disk}`);
  });
  after(async () => {
    port?.close();
    await vms?.remove();
  });

  test('five nights of work raise nothing; then the group is held, and the files are there as they were', async () => {
    const group = parseGroup(`vm/${id}`);
    const nights = [];
    for (let night = 0; night < 6; night++) {
      await port.ask(`files START ${disk}`);
      await port.ask('sleep 300');
      await port.ask('files STOP');
      nights.push(await vms.backup(id));
    }
    assert.deepEqual(
      nights.flatMap(({ committed }) => committed.warnings),
      [],
    );

    const { files, bytes } = (await port.ask(`encrypt ${disk} documents 7`, 120_000)) as unknown as Record<
      string,
      number
    >;
    assert.deepEqual([files, bytes], [FILES, FILES * FILE_BYTES]);
    const { committed, statistics } = await vms.backup(id);
    const [said = '', ...others] = committed.warnings;
    const [, mib, left, usual] =
      /added (\d+)(?:\.\d)? MiB .*leaves (\d+) % of it, where (\d+) % are usual.*anomaly clear/
        .exec(said)
        ?.map(Number) ?? [];
    assert.ok((mib ?? 0) >= FILES && (mib ?? 0) < FILES + 20, said);
    assert.ok((left ?? 0) >= 95 && (usual ?? 100) <= 60, said);
    assert.deepEqual(others, []);
    assert.ok(statistics.bytesRead < 120 * (1 << 20), 'an incremental');

    const { store } = vms.store;
    const plan = await planPrune(
      store.groups,
      { ns: ROOT, groups: [group], counts: { 'keep-last': 1 }, clockMs: store.clockMs },
      NO_SIGNAL,
    );
    assert.deepEqual(removalsOf(ROOT, plan), []);
    const times = [...(await store.groups.times(ROOT, group))];
    const { kept } = await removePruned.run(store, { ns: ROOT, groups: [{ group, times }] }, WORK);
    assert.equal(kept.length, 7);

    const last = nights.at(-1);
    if (last === undefined) throw new Error('no night');
    assert.equal(
      (await store.groups.manifest({ ns: ROOT, group, time: last.committed.name.time }))?.server.protected,
      true,
    );
    const image = await vms.restored(last, 'scsi0');
    for (const n of [0, 41, FILES - 1]) {
      const out = join(vms.node.path, 'out.csv');
      await run('debugfs', ['-R', `dump /documents/${n}.csv ${out}`, image]);
      assert.equal(readFileSync(out, 'utf8'), document(n));
    }
  });
});

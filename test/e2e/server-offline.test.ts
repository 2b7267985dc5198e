// A disk that an administrator takes away under a running backup, and brings back: the server lets go of all of it, and goes on by itself.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readlinkSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern } from '../agent/nbd/servers.ts';
import { listed, start } from '../cli/holdfast.ts';
import { type ServerRig, STORE, startRig } from '../support/server/server-rig.ts';

const DISK_BYTES = 24 * 1024 * 1024;
const CONFIG = `/config/datastore/${STORE}`;

/** Files of the datastore that the server's process has open. */
function openFiles({ server, storePath }: ServerRig): string[] {
  const directory = `/proc/${server.pid}/fd`;
  const targets = readdirSync(directory).map((fd) => {
    try {
      return readlinkSync(`${directory}/${fd}`);
    } catch {
      return '';
    }
  });
  return targets.filter((target) => target.startsWith(`${storePath}/`));
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `${what}: not within 20 s`);
    await sleep(50);
  }
}

test('offline ends a backup that runs and closes every file; back and online it goes on without a restart', async (t) => {
  const rig = await startRig(t);
  const account = await rig.newcomer('vmhost', 'DatastoreBackup');
  const figure = async (name: string) => (await rig.admin.metrics()).get(name);
  const disk = rig.path('disk');
  writeFileSync(disk, pattern(DISK_BYTES, 1));
  const args = ['backup', '--group', 'vm/1', `d.img:${disk}`, '--limit-upload', '1', '--output-format', 'json'];
  const backup = start(args, { env: account.env });
  await until('a session', async () => (await figure('holdfast_sessions_open')) === 1);
  assert.notDeepEqual(openFiles(rig), []);
  await rig.admin.call('PUT', CONFIG, { 'maintenance-mode': 'offline,message=new disks' });
  assert.deepEqual(openFiles(rig), []);
  assert.equal(await figure(`holdfast_datastore_open{datastore="${STORE}"}`), 0);
  assert.equal(await figure('holdfast_sessions_open'), 0);
  // It would wait ten minutes for the datastore to be there again.
  backup.child.kill('SIGKILL');
  await backup.ended;
  const away = `${rig.storePath}-away`;
  // As an unmount and a mount: what is there meanwhile is another directory.
  renameSync(rig.storePath, away);
  mkdirSync(rig.storePath);
  await sleep(2500);
  rmdirSync(rig.storePath);
  renameSync(away, rig.storePath);
  await rig.admin.call('PUT', CONFIG, { delete: ['maintenance-mode'] });
  await account.run('backup', '--group', 'vm/1', `d.img:${disk}`);
  assert.equal((await listed(account)).length, 1);
  const failed = rig.server.lines.filter((line) => /cannot be opened|this is a bug/.test(line));
  assert.deepEqual(failed, [], 'nobody tried to open what was not there');
});

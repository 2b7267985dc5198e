// Hook scripts around backups and around a guest's start and stop: order, arguments, environment, and what a failure does. QEMU is real; nobody waits for its guest to boot.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { withSettings } from '../../../src/guests/config/vm-config.ts';
import { lookAtMachine } from '../../../src/guests/vm/machine-state.ts';
import { startVm } from '../../../src/guests/vm/start.ts';
import { stopVm } from '../../../src/guests/vm/stop.ts';
import type { GuestId } from '../../../src/schema/guest-names.ts';
import { reasonToSkipGuest } from '../../support/guests/test-guest.ts';
import { KeptReport } from '../../support/guests/vm-node.ts';
import { VmBackups } from './vm-backups.ts';

suite('hook scripts of virtual machines', { skip: await reasonToSkipGuest(), timeout: 180_000 }, () => {
  let vms: VmBackups;
  let id: GuestId;
  let calls: string;

  before(async () => {
    vms = await VmBackups.create();
    id = await vms.addVm(104, {
      disks: { scsi0: { format: 'raw', sizeMiB: 8 } },
      settings: { name: 'hooked', agent: '0' },
    });
    calls = join(vms.node.path, 'calls');
    mkdirSync(dirname(vms.node.node.directory.firewallFile(id)), { recursive: true });
    writeFileSync(vms.node.node.directory.firewallFile(id), '[OPTIONS]\nenable: 1\n');
  });

  beforeEach(() => rmSync(calls, { force: true }));

  after(async () => {
    await vms?.remove();
  });

  /** A script that notes its calls, and fails in one phase. */
  function script(path: string, phase: string, failsIn = 'none'): string {
    const note = `echo "$*|$STOREID|$VMTYPE|$HOSTNAME|\${TARGET%%T*}|$(grep -c . "$LOGFILE" 2>/dev/null)" >> ${calls}`;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `#!/bin/sh\n${note}\necho told $${phase}\n[ $${phase} != ${failsIn} ]\n`);
    chmodSync(path, 0o700);
    return path;
  }

  const hook = (failsIn?: string) => ({
    hook: { script: script(join(vms.node.path, 'hook'), '1', failsIn), environment: { STOREID: 'main' } },
  });
  const called = () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []);
  const phases = () => called().map((line) => line.split(/[ |]/)[0]);

  async function lockOf(): Promise<string | undefined> {
    return (await vms.node.node.configs.read(id)).config.values.get('lock');
  }

  test('a stopped guest: phases, arguments and environment are those of vzdump', async () => {
    const { report, committed } = await vms.backup(id, hook());
    const rest = `${id}|main|qemu|hooked`;
    const target = committed.manifest.client.backup;
    const lines = called();
    assert.deepEqual(lines.slice(0, 3), ['job-init|main||||', 'job-start|main||||', `backup-start snapshot ${rest}||`]);
    assert.match(
      lines[3] as string,
      new RegExp(`^backup-end snapshot ${id}\\|main\\|qemu\\|hooked\\|${target}/[^|]+\\|$`),
    );
    assert.match(lines[4] as string, /^log-end snapshot .*\|[1-9]\d*$/, 'it can read the log');
    assert.match(lines[5] as string, /^job-end\|main/);
    assert.equal(lines.length, 6);
    assert.ok(report.logs.includes('hook backup-start: told backup-start'));
    assert.ok(!existsSync(join(vms.node.node.directory.run(id).path, 'backup.log')));
  });

  test("the guest's firewall rules go along", async () => {
    const { manifest } = (await vms.backup(id)).committed;
    assert.ok(manifest.client.archives.some(({ name, kind }) => name === 'qemu-server.fw' && kind === 'blob'));
  });

  test('one that fails in backup-start ends the backup before the guest is touched', async () => {
    await assert.rejects(vms.backup(id, hook('backup-start')), { code: 'source-failed', message: /backup-start/ });
    assert.deepEqual(phases(), ['job-init', 'job-start', 'backup-start', 'backup-abort', 'log-end', 'job-abort']);
    assert.equal(await lockOf(), undefined);
    await assert.rejects(vms.backup(id, hook('job-init')), { code: 'source-failed' });
  });

  test('a running guest in suspend mode; a failing backup-end is a warning', async () => {
    await startVm(vms.node.node, id, {}, new KeptReport());
    const { report } = await vms.backup(id, { mode: 'suspend', ...hook('backup-end') });
    assert.deepEqual(phases(), [
      ...['job-init', 'job-start', 'backup-start', 'pre-stop', 'pre-restart', 'post-restart', 'backup-end'],
      ...['log-end', 'job-end'],
    ]);
    assert.match(report.warnings.join('\n'), /backup-end ended with status 1/);
    await assert.rejects(vms.backup(id, { mode: 'stop', ...hook('pre-stop') }), { code: 'source-failed' });
    assert.equal((await lookAtMachine(vms.node.node, id)).status, 'running');
    await vms.assertTidy(id, ['scsi0']);
    await stopVm(vms.node.node, id, {}, new KeptReport());
  });

  test('hookscript of the configuration runs around start and stop, and may keep the guest from starting', async () => {
    const { node, path } = vms.node;
    const file = join(path, 'storage', 'local', 'snippets', 'guest.sh');
    script(file, '2');
    const { config } = await node.configs.read(id);
    await node.configs.write(id, withSettings(config, { hookscript: 'local:snippets/guest.sh' }));
    const report = new KeptReport();
    await startVm(node, id, {}, report);
    await stopVm(node, id, {}, report);
    const names = ['pre-start', 'post-start', 'pre-stop', 'post-stop'];
    assert.deepEqual(
      called().map((line) => line.split('|')[0]),
      names.map((name) => `${id} ${name}`),
    );
    assert.deepEqual(report.warnings, []);
    script(file, '2', 'pre-start');
    await assert.rejects(startVm(node, id, {}, report), { code: 'source-failed' });
    assert.equal((await lookAtMachine(node, id)).pid, undefined);
    await node.configs.write(id, withSettings(config, { hookscript: 'local:iso/guest.iso' }));
    await assert.rejects(startVm(node, id, {}, report), { code: 'bad-argument' });
    await node.configs.write(id, config);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanImportedConfig } from '../../../src/guests/config/import-config.ts';
import { printVmConfig } from '../../../src/guests/config/vm-config.ts';

test('what belonged to the guest that it was is taken off, and the map of disks is handed out', () => {
  const { config, diskMap } = cleanImportedConfig(
    [
      '#note',
      'lock: backup',
      'parent: before',
      'digest: 00',
      'runningmachine: pc-i440fx-9.0+pve0',
      'name: web',
      'own-key: kept',
      'scsi0: local-lvm:vm-100-disk-0,size=32G',
      'unused0: local:100/vm-100-disk-9.raw',
      '#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:',
      '#qmdump#map:efidisk0:drive-efidisk0:::\r',
      '[PENDING]',
      'cores: 4',
      '[special:cloudinit]',
      'name: web',
      '[before]',
      'cores: 1',
    ].join('\n'),
  );
  assert.equal(printVmConfig(config), '#note\nname: web\nown-key: kept\nscsi0: local-lvm:vm-100-disk-0,size=32G\n');
  assert.deepEqual(
    [...diskMap],
    [
      ['scsi0', { device: 'drive-scsi0', storage: 'local-lvm', format: 'raw' }],
      ['efidisk0', { device: 'drive-efidisk0', storage: '', format: '' }],
    ],
  );
});

test('a map that is none is refused with its line', () => {
  const good = '#qmdump#map:scsi0:drive-scsi0:local:raw:';
  for (const line of [good.slice(0, -1), '#qmdump#map:', '#qmdump#map:scsi0:../x:local:raw:', good])
    assert.throws(() => cleanImportedConfig(`${good}\n${line}\n`), { code: 'bad-argument', message: /line 2/ }, line);
  assert.throws(() => cleanImportedConfig(`${good}\n\nrubbish`), { code: 'bad-argument', message: /line 3/ });
});

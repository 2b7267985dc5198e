import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  DISK_KEYS,
  isDiskKey,
  isUnusedKey,
  parseDrive,
  parseNewVolume,
  printDrive,
} from '../../../src/guests/config/drive.ts';

const print = (key: string, value: string) => printDrive(parseDrive(key, value));

test('a drive has what its text says, and the defaults of what it does not', () => {
  const drive = parseDrive(
    'scsi30',
    'local:100/vm-100-disk-0.qcow2,size=32G,cache=none,aio=io_uring,discard=on,ssd=1,backup=0,iothread=1,serial=a%20b,iops_rd=100,mbps=1.5,queues=4',
  );
  assert.equal(drive.bus, 'scsi');
  assert.equal(drive.index, 30);
  assert.equal(drive.file, 'local:100/vm-100-disk-0.qcow2');
  assert.equal(drive.media, 'disk');
  assert.equal(drive.size, 32 * 1024 ** 3);
  assert.deepEqual([drive.cache, drive.aio, drive.serial, drive.format], ['none', 'io_uring', 'a%20b', undefined]);
  assert.deepEqual([drive.discard, drive.ssd, drive.backup, drive.iothread], [true, true, false, true]);
  assert.deepEqual([drive.ro, drive.snapshot, drive.detectZeroes], [false, false, true]);
  assert.deepEqual(drive.limits, { iops_rd: 100, mbps: 1.5 });
  assert.deepEqual(drive.rest, { queues: '4' });
  assert.equal(parseDrive('ide0', 'local:1').backup, true);
});

test('drives print with the file first and the rest by the alphabet; defaults stay when they were written', () => {
  assert.equal(print('scsi0', 'ssd=on,size=1048576K,volume=a1:v,backup=1'), 'a1:v,backup=1,size=1G,ssd=1');
  assert.equal(print('ide2', 'media=cdrom,none'), 'none,media=cdrom');
  assert.equal(print('sata0', 'a1:v,discard=ignore,media=disk'), 'a1:v,discard=ignore,media=disk');
  assert.equal(print('efidisk0', 'a1:1,pre-enrolled-keys=1,efitype=4m'), 'a1:1,efitype=4m,pre-enrolled-keys=1');
  assert.equal(print('tpmstate0', 'a1:1,version=v2.0'), 'a1:1,version=v2.0');
  assert.equal(print('unused255', 'file=a1:v'), 'a1:v');
  assert.equal(print('virtio0', 'a1:v,bps_rd=1572864'), 'a1:v,mbps_rd=1.5');
});

test('a changed copy prints as changed', () => {
  const drive = parseDrive('scsi0', 'st:32,format=raw,backup=1,iops=5');
  const made = { ...drive, file: 'st:vm-1-disk-0', format: undefined, size: 1024, backup: false, limits: { iops: 6 } };
  assert.equal(printDrive(made), 'st:vm-1-disk-0,backup=0,iops=6,size=1K');
  assert.throws(() => printDrive({ ...drive, file: 'a,b' }), { code: 'bad-argument', message: /scsi0/ });
});

test('what is no drive is refused with its key', () => {
  const refusals: [string, string, RegExp][] = [
    ['scsi31', 'a1:v', /'scsi31' is no key of a drive/],
    ['scsi01', 'a1:v', /no key of a drive/],
    ['net0', 'a1:v', /no key of a drive/],
    ['scsi0', '', /'file=' is missing/],
    ['scsi0', '32', /scsi0: '32' is no volume/],
    ['scsi0', '../x', /is no volume/],
    ['scsi0', 'none', /write none,media=cdrom/],
    ['virtio0', 'none,media=cdrom', /on ide, sata or scsi/],
    ['ide0', 'none,media=cdrom,snapshot=1', /no snapshot=/],
    ['scsi0', 'a1:v,iops=1,iops_rd=1', /iops and iops_rd exclude/],
    ['scsi0', 'a1:v,mbps_max=1,mbps_wr_max=1', /exclude/],
    ['scsi0', 'a1:v,bps=1,mbps=1', /exclude/],
    ['scsi0', 'a1:v,wwn=0x12', /16 hexadecimal digits/],
    ['unused0', 'a1:v,size=1G', /'size' is no option/],
    ['tpmstate0', 'a1:v,ssd=1', /'ssd' is no option/],
  ];
  for (const [key, value, message] of refusals)
    assert.throws(() => parseDrive(key, value), { code: 'bad-argument', message }, `${key}: ${value}`);
});

test('keys of drives are known, in the order in which Proxmox looks for one to boot', () => {
  assert.equal(DISK_KEYS.length, 4 + 31 + 16 + 6 + 2);
  assert.deepEqual(
    [DISK_KEYS[0], DISK_KEYS[4], DISK_KEYS[35], DISK_KEYS[51], ...DISK_KEYS.slice(57)],
    ['ide0', 'scsi0', 'virtio0', 'sata0', 'efidisk0', 'tpmstate0'],
  );
  assert.ok(isDiskKey('virtio15') && !isDiskKey('virtio16') && !isDiskKey('unused0'));
  assert.ok(isUnusedKey('unused255') && !isUnusedKey('unused256') && !isUnusedKey('unused00'));
});

test('volumes to make are told from those that are', () => {
  assert.deepEqual(parseNewVolume('local-lvm:32'), { kind: 'size', storage: 'local-lvm', sizeBytes: 32 * 1024 ** 3 });
  assert.deepEqual(parseNewVolume('local:0.5'), { kind: 'size', storage: 'local', sizeBytes: 512 * 1024 ** 2 });
  assert.deepEqual(parseNewVolume('local:0'), { kind: 'size', storage: 'local', sizeBytes: 0 });
  assert.deepEqual(parseNewVolume('local:cloudinit'), { kind: 'cloudinit', storage: 'local' });
  for (const file of ['local:100/vm-100-disk-0.raw', 'lvm:vm-100-disk-0', '/dev/sdb', 'none', 'local:32G', 'local:'])
    assert.equal(parseNewVolume(file), undefined, file);
  assert.throws(() => parseNewVolume('l:32'), { code: 'bad-name' });
  assert.equal(parseDrive('scsi1', 'st:0,import-from=/var/disk.img').importFrom, '/var/disk.img');
});

test('printing and reading drives is stable', () => {
  const options = fc.subarray([
    'size=5K',
    'format=qcow2',
    'cache=unsafe',
    'discard=on',
    'discard=ignore',
    'backup=0',
    'backup=1',
    'ssd=1',
    'ro=0',
    'snapshot=1',
    'iothread=1',
    'detect_zeroes=0',
    'iops=7',
    'mbps_rd=0.25',
    'bps_wr_max_length=3',
    'wwn=0x0123456789abcdef',
    'import-from=st:vm-7-disk-1',
  ]);
  const once = options.filter((all) => new Set(all.map((each) => each.split('=')[0])).size === all.length);
  fc.assert(
    fc.property(
      fc.constantFrom('scsi3', 'ide1', 'virtio9'),
      fc.constantFrom('st:v', '/dev/x', 'st:4'),
      once,
      (key, file, all) => {
        const text = [file, ...all.sort()].join(',');
        assert.equal(print(key, text), text);
        assert.deepEqual(parseDrive(key, print(key, text)), parseDrive(key, text));
      },
    ),
  );
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseVmConfig } from '../../../src/guests/config/vm-config.ts';
import {
  checkSetting,
  checkSettings,
  findKey,
  keysWithoutEffect,
  VM_KEYS,
} from '../../../src/guests/config/vm-keys.ts';

test('values are stored in their normal form', () => {
  const stored: [string, string, string][] = [
    ['memory', ' 2048 ', '2048'],
    ['onboot', 'yes', '1'],
    ['acpi', 'off', '0'],
    ['cores', '04', '4'],
    ['cpulimit', '1.5', '1.5'],
    ['tags', 'Web,db', 'db;web'],
    ['scsi0', 'ssd=1,file=st:v,size=2048M', 'st:v,size=2G,ssd=1'],
    ['net0', 'bridge=vmbr0,virtio=bc:24:11:00:00:01', 'virtio=BC:24:11:00:00:01,bridge=vmbr0'],
    // As they were sent: clients compare.
    ['agent', 'enabled=1,fstrim_cloned_disks=1', 'enabled=1,fstrim_cloned_disks=1'],
    ['cpu', 'host,flags=+aes;-pcid', 'host,flags=+aes;-pcid'],
    ['ipconfig0', 'ip=10.0.0.2/24,gw=10.0.0.1', 'ip=10.0.0.2/24,gw=10.0.0.1'],
    ['description', ' two\nlines ', ' two\nlines '],
    ['machine', 'pc-q35-7.2+pve1', 'pc-q35-7.2+pve1'],
    ['rng0', 'source=/dev/urandom,max_bytes=1024', 'source=/dev/urandom,max_bytes=1024'],
    ['vmgenid', '0', '0'],
    ['affinity', '0,5,8-11', '0,5,8-11'],
    ['sshkeys', 'ssh-ed25519%20AAAA%20x%0A', 'ssh-ed25519%20AAAA%20x%0A'],
  ];
  for (const [key, value, expected] of stored) assert.equal(checkSetting(key, value), expected, key);
});

test('what nobody gave is made: a MAC address, a generation id', () => {
  assert.match(checkSetting('net0', 'virtio,bridge=vmbr0'), /^virtio=BC:24:11(:[0-9A-F]{2}){3},bridge=vmbr0$/);
  assert.match(checkSetting('vmgenid', '1'), /^[0-9a-f-]{36}$/);
});

test('unknown keys and wrong values are refused, with the key and what it takes', () => {
  const refusals: [string, string, RegExp][] = [
    ['colour', 'red', /'colour' is no key/],
    ['scsi31', 'st:v', /'scsi31' is no key/],
    ['scsi00', 'st:v', /no key/],
    ['numa8', 'cpus=0', /no key/],
    ['parent', 'x', /'parent' is no key/],
    ['toString', 'x', /no key/],
    ['cores', '0', /^cores: '0' is no value for it; it takes a whole number, at least 1$/],
    ['cores', '', /^cores: the value is empty; it takes a whole number/],
    ['memory', '8', /^memory: .*'current'/],
    ['name', 'a_b', /^name: .*a DNS name/],
    ['name', '-a', /a DNS name/],
    ['ostype', 'dos', /^ostype: .* l26/],
    ['bios', 'uefi', /seabios, ovmf/],
    ['args', '-x\n-y', /control characters/],
    ['description', 'x'.repeat(8193), /8192/],
    ['net0', 'virtio,tag=5000', /^net0: '5000' is no value for 'tag': it takes a whole number from 1 to 4094/],
    ['hotplug', 'disk,all', /^hotplug: 'all'/],
    ['bootdisk', 'net0', /^bootdisk:/],
    ['vmgenid', 'x', /a UUID/],
    ['cpu', 'host,phys-bits=7', /phys-bits/],
    ['cpu', 'host kvm', /cputype/],
    ['machine', 'isapc', /^machine:/],
    ['serial0', '/etc/passwd', /^serial0:/],
    ['hookscript', 'local:snippets/a b', /^hookscript:/],
    ['smbios1', 'uuid=1', /a UUID/],
  ];
  for (const [key, value, message] of refusals)
    assert.throws(() => checkSetting(key, value), { code: 'bad-argument', message }, `${key}: ${value}`);
});

test('cdrom is another name of the CD drive ide2', () => {
  assert.deepEqual(checkSettings({ cdrom: 'none', cores: '1' }), { ide2: 'none,media=cdrom', cores: '1' });
  assert.deepEqual(checkSettings({ cdrom: 'st:iso/x.iso,media=cdrom' }), { ide2: 'st:iso/x.iso,media=cdrom' });
  assert.throws(() => checkSettings({ cdrom: 'none', ide2: 'none,media=cdrom' }), { code: 'bad-argument' });
});

test('what is set and changes nothing is named', () => {
  const config = parseVmConfig(
    'args: -x\ncolour: red\ncores: 2\nhostpci0: 01:00\nmeta: creation-qemu=9\nparent: a\nscsi0: st:v,iothread=1,ssd=1\nscsi1: st:w,iothread=0\n',
    'it',
  );
  assert.deepEqual(keysWithoutEffect(config), ['args', 'colour', 'hostpci0', 'scsi0.iothread']);
});

test('keys are found by name or by number', () => {
  assert.equal(findKey('numa')?.rule.kind, 'boolean');
  assert.equal(findKey('numa7')?.rule.kind, 'properties');
  assert.equal(findKey('smbios1')?.count, undefined);
  assert.equal(findKey('efidisk0')?.rule.kind, 'drive');
  assert.equal(findKey('efidisk1'), undefined);
  assert.equal(findKey('smbios10'), undefined);
});

test('every default is a value that the key takes', () => {
  for (const { name, count, rule, default: value } of VM_KEYS)
    if (value !== undefined) assert.equal(rule.check(value, count === undefined ? name : `${name}0`), value, name);
});

test('the manual lists the keys that act and those that are kept', () => {
  const manual = readFileSync(fileURLToPath(new URL('../../../docs/operations.md', import.meta.url)), 'utf8');
  const part = /### Virtual machines: configuration\n(.*?)\n##/s.exec(manual)?.[1] ?? '';
  const shown = ({ name, count }: { name: string; count: number | undefined }) =>
    count === undefined ? name : count === 1 ? `${name}0` : `${name}0-${count - 1}`;
  for (const [row, acts] of [
    ['acted on', true],
    ['kept', false],
  ] as const) {
    const cells = part.split('\n').filter((line) => line.endsWith(`| ${row} |`));
    const listed = cells.flatMap((line) => [...line.matchAll(/`([^`]+)`/g)].map(([, key]) => key));
    assert.deepEqual(
      listed.sort(),
      VM_KEYS.filter((key) => key.acts === acts)
        .map(shown)
        .sort(),
      row,
    );
  }
});

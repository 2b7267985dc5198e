// The smaller values: network devices, boot order, startup, agent, tags, cloud-init, identity.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAgentOption } from '../../../src/guests/config/agent-option.ts';
import { bootOrder, parseBoot } from '../../../src/guests/config/boot-order.ts';
import {
  parseIpConfig,
  parseNameservers,
  parseSearchDomains,
  parseSshKeys,
  printSshKeys,
} from '../../../src/guests/config/cloud-init-options.ts';
import { freshIdentity } from '../../../src/guests/config/identity.ts';
import { parseNetDevice, printNetDevice, randomMac } from '../../../src/guests/config/net-device.ts';
import { parseStartup } from '../../../src/guests/config/startup.ts';
import { parseTags, printTags } from '../../../src/guests/config/tags.ts';

const BAD = { code: 'bad-argument' };

test('a network device is read in both forms and printed as MODEL=MAC', () => {
  const text =
    'bridge=vmbr0,virtio=bc:24:11:00:aa:01,firewall=on,tag=5,rate=1.5,queues=2,mtu=1,link_down=1,trunks=5;7-9';
  const device = parseNetDevice('net31', text);
  assert.deepEqual(
    [device.index, device.model, device.macaddr, device.bridge, device.firewall, device.linkDown],
    [31, 'virtio', 'BC:24:11:00:AA:01', 'vmbr0', true, true],
  );
  assert.deepEqual([device.tag, device.rate, device.queues, device.mtu, device.trunks], [5, 1.5, 2, 1, '5;7-9']);
  const printed =
    'virtio=BC:24:11:00:AA:01,bridge=vmbr0,firewall=1,link_down=1,mtu=1,queues=2,rate=1.5,tag=5,trunks=5;7-9';
  assert.equal(printNetDevice(device), printed);
  assert.deepEqual(parseNetDevice('net31', printed), device);
  assert.equal(
    printNetDevice(parseNetDevice('net0', 'model=e1000,macaddr=02:00:00:00:00:01,host-tunnel=0')),
    'e1000=02:00:00:00:00:01,host-tunnel=0',
  );
  assert.equal(parseNetDevice('net0', 'e1000-82540em').macaddr, undefined);
});

test('what is no network device is refused', () => {
  for (const text of [
    '',
    'virtio=zz',
    'virtio=03:00:00:00:00:01',
    'ne3k',
    'virtio,tag=0',
    'virtio,tag=4095',
    'virtio,bridge=../x',
    'virtio,bridge=a b',
    'virtio,bridge=-x',
    'virtio,mtu=65521',
    'virtio,queues=65',
    'virtio,trunks=9-7',
    'virtio,trunks=4095',
    'virtio,rate=fast',
  ])
    assert.throws(() => parseNetDevice('net0', text), BAD, text);
  for (const key of ['net32', 'net', 'net01', 'ide0']) assert.throws(() => parseNetDevice(key, 'virtio'), BAD, key);
});

test('made addresses are unicast, of one prefix, and differ', () => {
  const made = new Set(Array.from({ length: 50 }, randomMac));
  assert.ok(made.size > 45);
  for (const mac of made) {
    assert.match(mac, /^BC:24:11(:[0-9A-F]{2}){3}$/);
    assert.equal(parseNetDevice('net0', `virtio=${mac}`).macaddr, mac);
  }
});

test('boot order: as written, for what is there', () => {
  const values = new Map(Object.entries({ boot: 'order=net0;scsi3;ide2', scsi3: 'st:v', net0: 'virtio' }));
  assert.deepEqual(bootOrder(values), ['net0', 'scsi3']);
  assert.deepEqual(parseBoot('order='), { kind: 'order', devices: [] });
  assert.deepEqual(parseBoot('legacy=cd'), { kind: 'legacy', letters: 'cd' });
  for (const text of ['', 'order=scsi31', 'order=ide0;ide0', 'order=efidisk0', 'cdx', 'scsi0', 'order=net0,ide0'])
    assert.throws(() => parseBoot(text), BAD, text);
});

test('boot order: unset and by letters it is the first disk, the CD drives, the network', () => {
  const machine = {
    efidisk0: 'st:e',
    sata0: 'st:s',
    scsi1: 'st:v',
    ide2: 'none,media=cdrom',
    ide0: 'st:iso/x.iso,media=cdrom',
    net1: 'virtio',
    net0: 'virtio',
  };
  const order = (more: Record<string, string>) => bootOrder(new Map(Object.entries({ ...machine, ...more })));
  assert.deepEqual(order({}), ['scsi1', 'ide0', 'ide2', 'net0', 'net1']);
  assert.deepEqual(order({ boot: 'ndc', bootdisk: 'sata0' }), ['net0', 'net1', 'ide0', 'ide2', 'sata0']);
  assert.deepEqual(order({ boot: 'c', bootdisk: 'scsi9' }), ['scsi1']);
  assert.deepEqual(bootOrder(new Map()), []);
});

test('startup, agent and tags', () => {
  assert.deepEqual(parseStartup('3,up=10'), { order: 3, upSeconds: 10, downSeconds: undefined });
  assert.deepEqual(parseStartup('down=60,order=0'), { order: 0, upSeconds: undefined, downSeconds: 60 });
  for (const text of ['a', 'order=1,2', 'up=-1']) assert.throws(() => parseStartup(text), BAD, text);

  const off = { enabled: false, freezeFs: true, fstrimClonedDisks: false, type: 'virtio' };
  assert.deepEqual(parseAgentOption(undefined), off);
  assert.deepEqual(parseAgentOption('0'), off);
  assert.deepEqual(parseAgentOption('1,fstrim_cloned_disks=1,type=isa'), {
    ...off,
    enabled: true,
    fstrimClonedDisks: true,
    type: 'isa',
  });
  for (const name of ['freeze-fs', 'freeze-fs-on-backup', 'guest-fsfreeze'])
    assert.deepEqual(parseAgentOption(`enabled=1,${name}=0`), { ...off, enabled: true, freezeFs: false });
  assert.throws(() => parseAgentOption('type=isa'), BAD);

  assert.deepEqual(parseTags('Web, db;db  a+b'), ['a+b', 'db', 'web']);
  assert.equal(printTags(['b', 'a', 'b']), 'a;b');
  assert.throws(() => parseTags('-a'), BAD);
});

test('network of cloud-init: addresses with prefixes, a gateway only with an address', () => {
  const text = 'ip=10.0.0.5/24,gw=10.0.0.1,ip6=fd00::5/64,gw6=fd00::1';
  assert.deepEqual(parseIpConfig('ipconfig0', text), {
    ip: '10.0.0.5/24',
    gw: '10.0.0.1',
    ip6: 'fd00::5/64',
    gw6: 'fd00::1',
  });
  assert.equal(parseIpConfig('ipconfig0', 'ip=dhcp,ip6=auto').ip6, 'auto');
  for (const bad of [
    'ip=10.0.0.5',
    'ip=10.0.0.5/33',
    'ip=auto',
    'ip=fd00::1/64',
    'ip6=fd00::1/129',
    'gw=10.0.0.1',
    'ip=dhcp,gw=10.0.0.1',
    'ip6=dhcp,gw6=fd00::1',
    'ip=10.0.0.5/24,gw=x',
    'dhcp',
  ])
    assert.throws(() => parseIpConfig('ipconfig7', bad), { ...BAD, message: /ipconfig7/ }, bad);
  assert.deepEqual(parseNameservers('1.1.1.1 fd00::1,9.9.9.9'), ['1.1.1.1', 'fd00::1', '9.9.9.9']);
  assert.throws(() => parseNameservers('dns.example'), BAD);
  assert.deepEqual(parseSearchDomains('a.example b'), ['a.example', 'b']);
  assert.throws(() => parseSearchDomains('a..b'), BAD);
});

test('public keys are percent-encoded lines', () => {
  const keys = ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 tom@host', 'no-pty ecdsa-sha2-nistp256 AAAAE2VjZHNh+/9= x'];
  assert.deepEqual(parseSshKeys(printSshKeys(keys)), keys);
  assert.deepEqual(parseSshKeys(encodeURIComponent(`# mine\r\n\r\n${keys[0]}\r\n`)), [keys[0]]);
  for (const bad of [
    keys[0] as string,
    '%ZZ',
    '%FF',
    'hello',
    encodeURIComponent('ssh-rsa'),
    encodeURIComponent(`${keys[0]}\u0000`),
  ])
    assert.throws(() => parseSshKeys(bad), BAD, bad);
});

test('every identity is another', () => {
  const [one, two] = [freshIdentity(), freshIdentity()];
  assert.match(one.smbios1, /^uuid=[0-9a-f-]{36}$/);
  assert.equal(new Set([one.smbios1.slice(5), one.vmgenid, two.smbios1.slice(5), two.vmgenid]).size, 4);
});

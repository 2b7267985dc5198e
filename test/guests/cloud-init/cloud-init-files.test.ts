// cloud-init's files, read by a YAML parser that is not ours (PyYAML, which cloud-init itself uses).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CloudInitOptions, cloudInitFiles } from '../../../src/guests/cloud-init/cloud-init-files.ts';
import { readHostResolver } from '../../../src/guests/cloud-init/host-resolver.ts';
import { hashPassword, isHashedPassword } from '../../../src/guests/cloud-init/password.ts';
import { writeYaml } from '../../../src/guests/cloud-init/yaml.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

const noPyYaml = spawnSync('python3', ['-c', 'import yaml']).status !== 0 && 'python3-yaml is not installed';

/** Documents as PyYAML reads them. */
function parsed(documents: readonly string[]): unknown[] {
  const script = 'import json,sys,yaml\nprint(json.dumps([yaml.safe_load(t) for t in json.load(sys.stdin)]))';
  const input = JSON.stringify(documents);
  const { stdout, stderr } = spawnSync('python3', ['-c', script], { input, encoding: 'utf8', maxBuffer: 64 << 20 });
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as unknown[];
}

const HASH = '$6$salt$0123456789abcdefghijklmnopqrstuvwxyz./ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMadeUp alice@laptop: "home" #1';
const options = (more: Partial<CloudInitOptions> = {}): CloudInitOptions => ({
  vmid: parseGuestId(101),
  hostname: 'web',
  ciuser: 'alice',
  cipassword: HASH,
  sshKeys: [KEY],
  ipconfig: [
    { ip: '192.0.2.10/23', gw: '192.0.2.1', ip6: '2001:db8::10/64', gw6: '2001:db8::1' },
    undefined,
    { ip: 'dhcp', ip6: 'auto' },
  ],
  macs: ['BC:24:11:00:00:01', 'BC:24:11:00:00:02', 'BC:24:11:00:00:03'],
  nameserver: '192.0.2.53 2001:db8::53',
  searchdomain: 'example.com example.org',
  citype: 'nocloud',
  ...more,
});
const code = (wanted: string) => (error: unknown) => error instanceof HoldfastError && error.code === wanted;

test('the files of a guest, as cloud-init reads them', { skip: noPyYaml }, () => {
  const { userData, metaData, networkConfig, vendorData } = cloudInitFiles(options());
  assert.ok(userData.startsWith('#cloud-config\n'));
  assert.equal(vendorData, undefined);
  const [user, meta, network] = parsed([userData, metaData, networkConfig]);
  assert.deepEqual(user, {
    hostname: 'web',
    manage_etc_hosts: true,
    fqdn: 'web.example.com',
    user: 'alice',
    password: HASH,
    ssh_authorized_keys: [KEY],
    chpasswd: { expire: false },
    users: ['default'],
    package_upgrade: true,
  });
  assert.match((meta as { 'instance-id': string })['instance-id'], /^[0-9a-f]{40}$/);
  assert.deepEqual(network, {
    version: 1,
    config: [
      {
        type: 'physical',
        name: 'eth0',
        mac_address: 'bc:24:11:00:00:01',
        subnets: [
          { type: 'static', address: '192.0.2.10', netmask: '255.255.254.0', gateway: '192.0.2.1' },
          { type: 'static6', address: '2001:db8::10/64', gateway: '2001:db8::1' },
        ],
      },
      {
        type: 'physical',
        name: 'eth2',
        mac_address: 'bc:24:11:00:00:03',
        subnets: [{ type: 'dhcp4' }, { type: 'ipv6_slaac' }],
      },
      { type: 'nameserver', address: ['192.0.2.53', '2001:db8::53'], search: ['example.com', 'example.org'] },
    ],
  });
});

test('root, a name with its domain, no upgrade, nothing else said', { skip: noPyYaml }, () => {
  const { userData, networkConfig } = cloudInitFiles({
    vmid: parseGuestId(101),
    hostname: 'db.example.net',
    ciuser: 'root',
    ciupgrade: false,
    sshKeys: [],
    ipconfig: [{}],
    macs: ['bc:24:11:00:00:01'],
    citype: 'nocloud',
  });
  const [user, network] = parsed([userData, networkConfig]);
  assert.deepEqual(user, {
    hostname: 'db',
    manage_etc_hosts: true,
    fqdn: 'db.example.net',
    user: 'root',
    disable_root: false,
    chpasswd: { expire: false },
  });
  assert.deepEqual((network as { config: unknown[] }).config, [
    { type: 'physical', name: 'eth0', mac_address: 'bc:24:11:00:00:01', subnets: [{ type: 'dhcp4' }] },
  ]);
});

test('the configuration drive: JSON and Debian interfaces', () => {
  const { userData, metaData, networkConfig } = cloudInitFiles(options({ citype: 'configdrive2' }));
  assert.ok(userData.startsWith('#cloud-config\n'));
  const { uuid, network_config } = JSON.parse(metaData) as { uuid: string; network_config: unknown };
  assert.match(uuid, /^[0-9a-f]{40}$/);
  assert.deepEqual(network_config, { content_path: '/content/0000' });
  assert.equal(
    networkConfig,
    `auto lo
iface lo inet loopback
    dns-nameservers 192.0.2.53 2001:db8::53
    dns-search example.com example.org

auto eth0
iface eth0 inet static
    address 192.0.2.10
    netmask 255.255.254.0
    gateway 192.0.2.1
iface eth0 inet6 static
    address 2001:db8::10
    netmask 64
    gateway 2001:db8::1

auto eth2
iface eth2 inet dhcp
iface eth2 inet6 auto
`,
  );
});

test('the instance id follows what was said, and nothing else', () => {
  const id = (more: Partial<CloudInitOptions> = {}) => cloudInitFiles(options(more)).metaData;
  const [{ ip6: _, ...first } = {}] = options().ipconfig;
  const others = [
    id({ hostname: 'web2' }),
    id({ ipconfig: [first] }),
    id({ vmid: parseGuestId(102) }),
    id({ custom: { vendor: 'x' } }),
    id({ custom: { user: 'x' } }),
    id({ sshKeys: [] }),
  ];
  assert.equal(id(), id());
  assert.equal(new Set([id(), ...others]).size, others.length + 1);
  assert.equal(
    id({ citype: 'nocloud' }),
    id({ macs: options().macs.map((mac) => mac?.toLowerCase()) }),
    'the same card in other letters',
  );
});

test('custom files take the place of ours, as they are', () => {
  const custom = {
    user: '#!/bin/sh\n',
    meta: 'instance-id: mine\n',
    network: 'version: 2\n',
    vendor: '#cloud-config\n{}\n',
  };
  assert.deepEqual(cloudInitFiles(options({ custom })), {
    citype: 'nocloud',
    userData: custom.user,
    metaData: custom.meta,
    networkConfig: custom.network,
    vendorData: custom.vendor,
  });
  assert.throws(() => cloudInitFiles(options({ custom: { user: 'x'.repeat((3 << 20) + 1) } })), code('too-large'));
});

test('what is no address, key or hash is refused', () => {
  const wrong: Partial<CloudInitOptions>[] = [
    { ipconfig: [{ ip: '192.0.2.1' }] },
    { ipconfig: [{ ip: '192.0.2.1/33' }] },
    { ipconfig: [{ ip: '192.0.2.1/24\n    up rm -rf /' }] },
    { ipconfig: [{ ip: '2001:db8::1/64' }] },
    { ipconfig: [{ ip6: 'fe80::1%eth0/64' }] },
    { ipconfig: [{ ip: 'dhcp', gw: 'router' }] },
    { ipconfig: [{ ip: 'dhcp', gw6: '192.0.2.1' }] },
    { macs: ['BC:24:11:00:00:01\n'] },
    { nameserver: '192.0.2.53 evil' },
    { searchdomain: "example.com'" },
    { sshKeys: [`${KEY}\nssh-rsa another`] },
    { cipassword: 'secret' },
    { cipassword: `${HASH}\nroot:x` },
  ];
  for (const citype of ['nocloud', 'configdrive2'] as const)
    for (const each of wrong)
      assert.throws(() => cloudInitFiles(options({ citype, ...each })), code('bad-argument'), JSON.stringify(each));
  assert.throws(() => cloudInitFiles(options({ macs: [] })), code('bad-argument'));
});

test('every prefix has its netmask', () => {
  for (let prefix = 0; prefix <= 32; prefix++) {
    const { networkConfig } = cloudInitFiles(
      options({ citype: 'configdrive2', ipconfig: [{ ip: `10.0.0.1/${prefix}` }] }),
    );
    const mask = /netmask (\S+)/.exec(networkConfig)![1]!.split('.').map(Number);
    const bits = mask.map((byte) => byte.toString(2).padStart(8, '0')).join('');
    assert.equal(bits, '1'.repeat(prefix).padEnd(32, '0'));
  }
});

test('hostile names stay data, whatever is in them', { skip: noPyYaml }, () => {
  const nasty = [
    'a: b',
    '"',
    "'",
    'a\nruncmd: [reboot]',
    '- x',
    '#',
    '&a',
    '*a',
    '!!python/object',
    '%',
    '@',
    '`',
    'yes',
    'No',
    'null',
    '~',
    '1',
    '0x10',
    '1e3',
    '1:30',
    '2001-01-01',
    '',
    ' ',
    'a\u0085b',
    'a \u2028 b',
    '\ufeff',
    '\u007f',
    '\0',
    '\ud800',
    '😀',
    '|',
    '>',
    '{}',
    '[]',
    '---',
    '...',
    '=',
    '<<',
    '.inf',
    'off',
    'y',
  ];
  const seen = (text: string) => text.replace(/\p{Surrogate}/gu, '\ufffd');
  const property = fc.sample(
    fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.string({ unit: 'grapheme' }), fc.constantFrom(...nasty)),
    400,
  );
  const values = [...nasty, ...property];
  const documents = values.map((value) => writeYaml({ held: value, list: [value, { deep: value }], after: true }));
  parsed(documents).forEach((found, index) => {
    const value = seen(values[index]!);
    assert.deepEqual(found, { held: value, list: [value, { deep: value }], after: true }, JSON.stringify(value));
  });
  const hostname = 'x"\nruncmd:\n  - reboot\n#';
  const [user] = parsed([cloudInitFiles(options({ hostname, ciuser: 'a: b\nc' })).userData]) as [
    Record<string, unknown>,
  ];
  assert.deepEqual([user.hostname, user.user, 'runcmd' in user], [hostname, 'a: b\nc', false]);
});

test('lists in lists, empty ones, and what is undefined', { skip: noPyYaml }, () => {
  const held = { a: [], b: {}, c: undefined, d: [{ e: { f: [1, true] }, g: 'x' }], h: { i: undefined } };
  assert.deepEqual(parsed([writeYaml(held)]), [{ a: [], b: {}, d: [{ e: { f: [1, true] }, g: 'x' }], h: {} }]);
});

test('a password is hashed with a salt of its own, and known as hashed', async () => {
  const [one, two] = [await hashPassword('it\'s: a "secret" ü'), await hashPassword('it\'s: a "secret" ü')];
  assert.match(one, /^\$6\$[^$]+\$[./0-9A-Za-z]{86}$/);
  assert.notEqual(one, two);
  assert.ok(isHashedPassword(one));
  const salt = one.split('$')[2]!;
  const { stdout } = spawnSync('openssl', ['passwd', '-6', '-salt', salt, '-stdin'], {
    input: 'it\'s: a "secret" ü',
    encoding: 'utf8',
  });
  assert.equal(stdout.trim(), one);
  for (const plain of ['secret', '$ecret', '$6', '$6$a b$c', '']) assert.equal(isHashedPassword(plain), false, plain);
  for (const hash of ['$y$j9T$abc$def', '$5$rounds=5000$salt$hash', '$2b$12$abcdefghijk', '$1$salt$hash'])
    assert.ok(isHashedPassword(hash), hash);
  for (const bad of ['', 'a\nb', 'x'.repeat(256)]) await assert.rejects(hashPassword(bad), code('bad-argument'));
});

test("the host's resolver, without what only the host reaches", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hft-resolver-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'resolv.conf');
  writeFileSync(
    path,
    '# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53\n  nameserver\t2001:db8::53\nsearch old\nsearch example.com example.org\noptions edns0\n',
  );
  assert.deepEqual(await readHostResolver(path), {
    nameserver: '192.0.2.53 2001:db8::53',
    searchdomain: 'example.com example.org',
  });
  assert.deepEqual(await readHostResolver(join(directory, 'none')), { nameserver: undefined, searchdomain: undefined });
});

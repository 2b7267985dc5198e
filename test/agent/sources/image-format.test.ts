// Which bytes are believed to be which format, and the attack on that: a guest that writes an image header on its raw disk.
import assert from 'node:assert/strict';
import { copyFileSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseDiskSpec } from '../../../src/agent/sources/disk-spec.ts';
import { chooseDriver, detectFormat } from '../../../src/agent/sources/image-format.ts';
import { openDiskSource } from '../../../src/agent/sources/open-source.ts';
import { scratch, tool, without } from '../nbd/servers.ts';

function detect(bytes: Buffer) {
  return detectFormat((offset, length) => bytes.subarray(offset, offset + length));
}

test('disk specs', () => {
  assert.deepEqual(parseDiskSpec('/a/b'), { kind: 'path', path: '/a/b', format: undefined });
  assert.deepEqual(parseDiskSpec('qcow2:b:c'), { kind: 'path', path: 'b:c', format: 'qcow2' });
  assert.deepEqual(parseDiskSpec('vhd:/x'), { kind: 'path', path: '/x', format: 'vpc' });
  assert.deepEqual(parseDiskSpec('./raw:x'), { kind: 'path', path: './raw:x', format: undefined });
  assert.deepEqual(parseDiskSpec('toString:x'), { kind: 'path', path: 'toString:x', format: undefined });
  assert.deepEqual(parseDiskSpec('nbd+unix:///a%20b?socket=/run/s'), {
    kind: 'nbd',
    address: { socketPath: '/run/s' },
    exportName: 'a b',
  });
  assert.deepEqual(parseDiskSpec('nbd://h/'), { kind: 'nbd', address: { host: 'h', port: 10_809 }, exportName: '' });
  assert.deepEqual(parseDiskSpec('nbd://[::1]:77/x/y'), {
    kind: 'nbd',
    address: { host: '::1', port: 77 },
    exportName: 'x/y',
  });
  for (const bad of [
    '',
    'raw:',
    'nbds://h/x',
    'nbd:///x',
    'nbd+unix:///x',
    'nbd+vsock://1/x',
    'nbd://h:99999/',
    'nbd://h/%',
  ]) {
    assert.throws(() => parseDiskSpec(bad), { code: 'bad-argument' }, bad);
  }
});

test('magics', () => {
  const image = (at: number, bytes: string | number[]) => {
    const all = Buffer.alloc(70_000);
    Buffer.from(bytes as string, 'latin1').copy(all, at);
    return detect(all).driver;
  };
  assert.equal(image(0, 'QFI\xfb\x00\x00\x00\x03'), 'qcow2');
  assert.equal(image(0, 'QFI\xfb\x00\x00\x00\x02'), 'qcow2');
  assert.equal(image(0, 'QFI\xfb\x00\x00\x00\x01'), 'qcow');
  assert.equal(image(0, 'KDMV'), 'vmdk');
  assert.equal(image(0, 'COWD'), 'vmdk');
  assert.equal(image(0, '# Disk DescriptorFile\n'), 'vmdk');
  assert.equal(image(64, '\x7f\x10\xda\xbe'), 'vdi');
  assert.equal(image(0, 'vhdxfile'), 'vhdx');
  assert.equal(image(1, 'QFI\xfb'), 'raw');
  for (const length of [0, 1, 4, 67]) assert.equal(detect(Buffer.alloc(length)).driver, 'raw');
  assert.equal(detect(Buffer.from('QFI\xfb', 'latin1')).driver, 'qcow2');
});

test('what refers to other files is seen', { skip: without('qemu-img') }, async (t) => {
  const directory = scratch(t);
  const make = (name: string, ...args: string[]) => {
    tool(
      'qemu-img',
      'create',
      '-q',
      ...args.slice(0, -1),
      join(directory, name),
      ...args.slice(-1).filter((size) => size !== ''),
    );
    // Under another name nothing vouches for the format.
    copyFileSync(join(directory, name), join(directory, `${name}.img`));
    return join(directory, name);
  };
  const base = make('base.qcow2', '-f', 'qcow2', '10M');
  assert.equal(chooseDriver(`${base}.img`), 'qcow2');
  const vmdk = make('base.vmdk', '-f', 'vmdk', '10M');
  assert.equal(chooseDriver(`${vmdk}.img`), 'vmdk');
  assert.equal(chooseDriver(`${make('a.vdi', '-f', 'vdi', '10M')}.img`), 'vdi');
  assert.equal(chooseDriver(`${make('a.vhdx', '-f', 'vhdx', '10M')}.img`), 'vhdx');
  const suspects: [string, string, RegExp][] = [
    [make('over.qcow2', '-f', 'qcow2', '-b', base, '-F', 'qcow2', ''), 'qcow2', /a backing file/],
    [
      make('data.qcow2', '-f', 'qcow2', '-o', `data_file=${join(directory, 'd.raw')}`, '10M'),
      'qcow2',
      /an external data file/,
    ],
    [make('child.vmdk', '-f', 'vmdk', '-b', vmdk, '-F', 'vmdk', ''), 'vmdk', /a parent image/],
    [make('flat.vmdk', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', '10M'), 'vmdk', /extent files/],
  ];
  for (const [path, driver, words] of suspects) {
    assert.equal(chooseDriver(path), driver, 'the name agrees');
    assert.throws(() => chooseDriver(`${path}.img`), { code: 'source-failed', message: words });
    await assert.rejects(openDiskSource(`${path}.img`), { code: 'source-failed', message: /Say what it is: raw:/ });
  }
});

test('a VMDK header that claims to be empty, or hides its descriptor, is not believed', (t) => {
  const path = join(scratch(t), 'disk.img');
  const head = Buffer.alloc(65_536);
  head.write('KDMV');
  head.writeUInt32LE(1, 4);
  writeFileSync(path, head);
  assert.throws(() => chooseDriver(path), { message: /extent files/ });
  head.writeBigUInt64LE(20_480n, 12);
  head.writeBigUInt64LE(50n, 28);
  writeFileSync(path, head);
  assert.equal(chooseDriver(path), 'vmdk');
  // QEMU looks for the parent in sector 1 whatever the header says.
  const fd = openSync(path, 'r+');
  writeSync(fd, 'parentFileNameHint="/etc/shadow"', 600);
  assert.throws(() => chooseDriver(path), { message: /a parent image/ });
});

test('a guest that writes a qcow2 header with a backing file on its raw disk reads nothing of the host', {
  skip: without('qemu-img'),
}, async (t) => {
  const directory = scratch(t);
  const secret = join(directory, 'shadow');
  writeFileSync(secret, 'root:secret'.padEnd(1024));
  const disk = join(directory, 'vm-100-disk-0.raw');
  tool('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', disk);
  await assert.rejects(openDiskSource(disk), { code: 'source-failed', message: /read files of the host/ });
  const raw = await openDiskSource(`raw:${disk}`);
  assert.equal(raw.locator.type, 'file');
  await raw.close();
});

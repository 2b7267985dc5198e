// Drives for cloud-init, read back by programs that made none of them.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { CloudInitFiles } from '../../../src/guests/cloud-init/cloud-init-files.ts';
import { DRIVE_BYTES, writeCloudInitDrive } from '../../../src/guests/cloud-init/write-drive.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

const has = (tool: string) =>
  (process.env.PATH ?? '').split(delimiter).some((directory) => existsSync(join(directory, tool)));
const maker = has('genisoimage') || has('xorriso');
const skip = !(maker && (has('isoinfo') || has('xorriso'))) && 'neither genisoimage nor xorriso is installed';
const FILES: CloudInitFiles = {
  citype: 'nocloud',
  userData: '#cloud-config\nhostname: ü\n',
  metaData: 'instance-id: a\n',
  networkConfig: 'version: 1\n',
};

let directory: string;
let path: string;
const oldPath = process.env.PATH;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hft-drive-'));
  path = join(directory, 'vm-101-cloudinit.raw');
});
afterEach(() => {
  process.env.PATH = oldPath;
  rmSync(directory, { recursive: true, force: true });
});

function label(iso: string): string {
  const descriptor = readFileSync(iso).subarray(16 * 2048, 17 * 2048);
  assert.equal(descriptor.subarray(1, 6).toString(), 'CD001');
  return descriptor.subarray(40, 72).toString().trim();
}

function fileOf(iso: string, name: string): string {
  if (has('isoinfo')) return execFileSync('isoinfo', ['-i', iso, '-R', '-x', `/${name}`], { encoding: 'utf8' });
  const out = join(directory, 'extracted');
  execFileSync('xorriso', ['-osirrox', 'on', '-indev', iso, '-extract', `/${name}`, out], { stdio: 'ignore' });
  return readFileSync(out, 'utf8');
}

/** A PATH with one program only, of those that make an ISO. */
function onlyWith(...tools: string[]): void {
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  for (const tool of tools)
    symlinkSync(execFileSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim(), join(bin, tool));
  process.env.PATH = bin;
}

test("NoCloud: labelled cidata, 4 MiB, its owner's alone, nothing beside it", { skip }, async () => {
  const vendorData = '#cloud-config\n{}\n';
  await writeCloudInitDrive(path, { ...FILES, vendorData }, 'raw');
  assert.equal(label(path), 'cidata');
  assert.deepEqual(
    ['user-data', 'meta-data', 'network-config', 'vendor-data'].map((name) => fileOf(path, name)),
    [FILES.userData, FILES.metaData, FILES.networkConfig, vendorData],
  );
  const { size, mode } = statSync(path);
  assert.deepEqual([size, mode & 0o777], [DRIVE_BYTES, 0o600]);
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith('vm-')),
    ['vm-101-cloudinit.raw'],
  );
});

test("the configuration drive: labelled config-2, with OpenStack's tree", { skip }, async () => {
  await writeCloudInitDrive(path, { ...FILES, citype: 'configdrive2' }, 'raw');
  assert.equal(label(path), 'config-2');
  assert.equal(fileOf(path, 'openstack/latest/user_data'), FILES.userData);
  assert.equal(fileOf(path, 'openstack/latest/meta_data.json'), FILES.metaData);
  assert.equal(fileOf(path, 'openstack/content/0000'), FILES.networkConfig);
});

test('as qcow2', { skip: skip || (!has('qemu-img') && 'qemu-img is not installed') }, async () => {
  await writeCloudInitDrive(path, FILES, 'qcow2');
  const raw = join(directory, 'raw.iso');
  execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, raw]);
  assert.equal(statSync(raw).size, DRIVE_BYTES);
  assert.equal(fileOf(raw, 'user-data'), FILES.userData);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

for (const tool of ['genisoimage', 'xorriso'])
  test(`with ${tool} alone`, { skip: !has(tool) && `${tool} is not installed` }, async () => {
    onlyWith(tool);
    await writeCloudInitDrive(path, FILES, 'raw');
    process.env.PATH = oldPath;
    assert.equal(fileOf(path, 'user-data'), FILES.userData);
  });

test('no program to make it: tool-missing names the package, and the old drive stays', async () => {
  writeFileSync(path, 'the old one');
  onlyWith();
  await assert.rejects(writeCloudInitDrive(path, FILES, 'raw'), (error) => {
    assert.ok(error instanceof HoldfastError);
    assert.equal(error.code, 'tool-missing');
    assert.match(error.message, /Debian package genisoimage/);
    return true;
  });
  assert.equal(readFileSync(path, 'utf8'), 'the old one');
  assert.equal(existsSync(`${path}.tmp`), false);
});

test('what a crash left is written over; an abort and too much leave the old drive', { skip }, async () => {
  await writeCloudInitDrive(path, FILES, 'raw');
  mkdirSync(`${path}.tmp/content`, { recursive: true });
  writeFileSync(`${path}.tmp/content/stranger`, 'x');
  chmodSync(path, 0o644);
  await writeCloudInitDrive(path, { ...FILES, userData: 'new' }, 'raw');
  assert.equal(fileOf(path, 'user-data'), 'new');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(spawnSync('grep', ['-q', 'stranger', path]).status, 1);
  await assert.rejects(writeCloudInitDrive(path, FILES, 'raw', AbortSignal.abort()), { code: 'aborted' });
  await assert.rejects(writeCloudInitDrive(path, { ...FILES, userData: 'x'.repeat(DRIVE_BYTES) }, 'raw'), {
    code: 'too-large',
  });
  assert.equal(fileOf(path, 'user-data'), 'new');
  assert.equal(existsSync(`${path}.tmp`), false);
});

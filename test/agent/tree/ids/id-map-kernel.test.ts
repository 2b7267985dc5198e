// The kernel as the judge of mapped ids: it takes what a restore maps up to the host, and shows it in a user namespace with these ids as
// the container had it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadFileCalls, Metadata, readScan, type Scanned } from '../../../../src/agent/tree/file-calls.ts';
import { IdMap } from '../../../../src/agent/tree/ids/id-map.ts';
import { eachXattr, encodeXattrs } from '../../../../src/chunker/directory.ts';
import { FileType, writeStat } from '../../../../src/chunker/stat-block.ts';
import type { ByteString } from '../../../../src/util/byte-string.ts';

const RANGE = '0:100000:65536';
const FILE = 'f' as ByteString;
const skip = process.getuid?.() === 0 ? false : 'needs root, to write files of other users';

/** What a shell says that runs as root of a new user namespace with the range. */
async function inNamespace(directory: string, script: string): Promise<string> {
  const asRoot = 'echo ready; read _; exec setpriv --reuid 0 --regid 0 --clear-groups sh -c "$0"';
  const child = spawn('unshare', ['--user', '--keep-caps', 'sh', '-c', asRoot, script], {
    cwd: directory,
    stdio: 'pipe',
  });
  let said = '';
  let complaint = '';
  child.stdout.on('data', (text: Buffer) => {
    if (said === '') {
      for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${map}`, RANGE.replaceAll(':', ' '));
      child.stdin.end('\n');
    }
    said += text.toString('latin1');
  });
  child.stderr.on('data', (text: Buffer) => {
    complaint += text.toString('latin1');
  });
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 0, complaint);
  return said;
}

test('a user namespace shows the owner, the ACL and the capabilities that were backed up', { skip }, async () => {
  const calls = loadFileCalls();
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-ids-'));
  const fd = openSync(directory, 'r');
  try {
    chmodSync(directory, 0o755);
    writeFileSync(join(directory, FILE), 'x');
    const map = IdMap.parse([RANGE], [RANGE]) as IdMap;
    // cap_net_raw=ep of the container's root; user 33 and group 44 in an ACL with all kinds of entries.
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    const acl = Buffer.from(
      `02000000${'01000600ffffffff'}${'0200070021000000'}${'04000400ffffffff'}${'080005002c000000'}${'10000700ffffffff'}${'20000000ffffffff'}`,
      'hex',
    );
    const container = encodeXattrs([
      { name: 'security.capability' as ByteString, value: capability },
      { name: 'system.posix_acl_access' as ByteString, value: acl },
    ]);
    const mode = FileType.file | 0o670;
    const times = { mtimeNs: 0n, ctimeNs: 0n };
    const owner = { uid: 33, gid: 44, nlink: 1, sizeBytes: 1, inode: 0n, major: 0, minor: 0, attributes: 0 };
    const up = map.toHost(writeStat({ mode, ...owner, ...times }), container);
    assert.equal(up.unmapped, false);

    const wanted = Metadata.owner | Metadata.xattrs | Metadata.acls;
    assert.equal(calls.setMetadata(fd, FILE, -1, up.stat, up.xattrs, wanted), 0);
    const [seen] = [...readScan(calls.scan(fd, Buffer.from('\x01f')) as Buffer)] as [Scanned];
    assert.deepEqual([...eachXattr(seen.xattrs)], [...eachXattr(up.xattrs)], 'the host reads back what it wrote');
    const down = map.toContainer(seen.stat, seen.xattrs);
    assert.deepEqual([...eachXattr(down.xattrs)], [...eachXattr(container)]);

    const shown = await inNamespace(directory, "stat -c '%u %g' f; getfattr --absolute-names -m - -d -e hex f");
    assert.match(shown, /^33 44$/m);
    assert.ok(shown.includes(`security.capability=0x${capability.toString('hex')}\n`), shown);
    assert.ok(shown.includes(`system.posix_acl_access=0x${acl.toString('hex')}\n`), shown);
  } finally {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  }
});

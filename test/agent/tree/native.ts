// A temporary directory with an open descriptor, for tests of calls on file trees.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  type FileCalls,
  loadFileCalls,
  readScan,
  type Scanned,
  STAT_OUT_BYTES,
} from '../../../src/agent/tree/file-calls.ts';
import { readStat, type StatFields, writeStat } from '../../../src/chunker/stat-block.ts';
import type { ByteString } from '../../../src/util/byte-string.ts';

export const calls: FileCalls = loadFileCalls();
export const isRoot = process.getuid?.() === 0;
export const name = (text: string): ByteString => text as ByteString;
export const NO_XATTRS = new Uint8Array(0);

/** A new directory and a descriptor of it; both go when the test ends, immutable files included. */
export function temporaryDirectory(t: TestContext): { path: string; fd: number } {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-calls-'));
  const fd = openSync(path, 'r');
  t.after(() => {
    closeSync(fd);
    // It ends with an error when there are links or devices, which have no attributes.
    if (isRoot) spawnSync('chattr', ['-R', '-f', '-i', '-a', path], { stdio: 'ignore' });
    rmSync(path, { recursive: true });
  });
  return { path, fd };
}

/** Names in the form that `scan` takes. */
export function nameList(...names: string[]): Buffer {
  return Buffer.concat(names.map((each) => Buffer.from(String.fromCharCode(each.length) + each, 'latin1')));
}

export function scanned(fd: number, ...names: string[]): Scanned[] {
  const result = calls.scan(fd, nameList(...names));
  if (typeof result === 'number') throw new Error(`scan answered ${result}`);
  return [...readScan(result)];
}

/** The stat fields of a name. */
export function statOf(fd: number, each: string): StatFields {
  const out = new Uint8Array(STAT_OUT_BYTES);
  const result = calls.stat(fd, name(each), out);
  if (result !== 0) throw new Error(`stat of ${each} answered ${result}`);
  return readStat(out);
}

/** A stat block with a fixed time. */
export function statBlock(mode: number, over: Partial<StatFields> = {}): Buffer {
  const { uid = process.getuid?.() ?? 0, gid = process.getgid?.() ?? 0 } = over;
  const times = { mtimeNs: 1_234_567_890_123_456_789n, ctimeNs: 0n };
  const fields = { nlink: 1, sizeBytes: 0, inode: 0n, major: 0, minor: 0, attributes: 0 };
  return writeStat({ mode, ...times, ...fields, ...over, uid, gid });
}

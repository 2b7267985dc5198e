// A golden store unpacked, what its archives must restore to, and how a restored tree is compared with that.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, createReadStream, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { decompress } from 'zstd-napi';
import { eachXattr } from '../../src/chunker/directory.ts';
import { type Seen, seenTree } from '../agent/tree/seen-tree.ts';
import { PROGRAM } from '../cli/holdfast.ts';

/** An entry of a tree as lstat, readlink and getfattr saw it. Strings have a character a byte. */
export interface ExpectedEntry {
  readonly path: string;
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: number;
  readonly mtimeNs: string;
  readonly device?: string;
  readonly sha256?: string;
  readonly target?: string;
  readonly hasHoles?: boolean;
  /** The first path of the same inode. */
  readonly linkOf?: string;
  readonly xattrs?: Record<string, string>;
}

/** An archive, and what it restores to: bytes, or the entries of a tree. */
export interface Expectation {
  readonly ns: string;
  readonly snapshot: string;
  readonly encrypted?: boolean;
  readonly archive: string;
  readonly sizeBytes?: number;
  readonly sha256?: string;
  readonly entries?: readonly ExpectedEntry[];
}

/** What `--list` of the second reader prints. */
export interface Listed extends Omit<ExpectedEntry, 'device' | 'xattrs'> {
  readonly major: number;
  readonly minor: number;
  readonly attributes: number;
  readonly content: string;
  readonly marks: number;
  readonly parts?: number;
  readonly xattrs: Record<string, string>;
}

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const VECTORS = 'test/vectors';
const MAX_BYTES = 400 * 1024;
/** The second reader sets times to the microsecond, some file systems keep no more. */
const NEAR_NS = 2_000n;

export const expectations = (name: string) =>
  (JSON.parse(readFileSync(`${VECTORS}/${name}.json`, 'utf8')) as { archives: Expectation[] }).archives;

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** A golden store, unpacked to be read and written. */
export class Golden {
  readonly work = mkdtempSync(join(tmpdir(), 'golden-store-'));
  readonly store = join(this.work, 'store');
  readonly target = join(this.work, 'restored');
  readonly key = join(this.work, 'key');
  readonly #env = { ...process.env, HOLDFAST_KEYFILE: '', HOLDFAST_KEY_PASSPHRASE: '' };

  constructor(name: string) {
    const packed = readFileSync(`${VECTORS}/${name}.tar.zst`);
    assert.ok(packed.length < MAX_BYTES);
    const unpacked = spawnSync('tar', ['-C', this.work, '-xf', '-'], { input: decompress(packed) });
    assert.equal(unpacked.status, 0, String(unpacked.stderr));
    copyFileSync(`${VECTORS}/golden-key.json`, this.key);
  }

  /** Both run a reader with what it is called with, and say how that ended. */
  secondReader(args: readonly string[], env: Record<string, string> = {}): Ran {
    return this.#run(['test/support/second-reader.mjs', ...args], env);
  }
  holdfast(args: readonly string[], env: Record<string, string> = {}): Ran {
    const state = join(this.work, 'state');
    const words = [PROGRAM, '--repository', this.store, '--output-format', 'json', ...args];
    return this.#run(words, { HOLDFAST_STATE_DIR: state, ...env });
  }

  /** Runs our program and reads its JSON. */
  json<Value>(...args: string[]): Value {
    const ran = this.holdfast(args);
    assert.equal(ran.status, 0, ran.stderr);
    return JSON.parse(ran.stdout) as Value;
  }

  /** Restores to `target` with one of the readers. `all` also checks every frame. */
  restore(reader: string, wanted: Expectation, keyOption = wanted.encrypted ? ['--keyfile', this.key] : []): Ran {
    const { ns, snapshot, archive, entries } = wanted;
    const nsOption = ns === '' ? [] : ['--ns', ns];
    const devices = entries === undefined ? [] : ['--devices'];
    if (reader === 'holdfast')
      return this.holdfast([...nsOption, 'restore', snapshot, archive, this.target, ...devices, ...keyOption]);
    return this.secondReader(['--all', ...nsOption, ...keyOption, this.store, snapshot, archive, this.target]);
  }

  list({ ns, snapshot, archive, encrypted }: Expectation): Listed[] {
    const options = [...(ns === '' ? [] : ['--ns', ns]), ...(encrypted ? ['--keyfile', this.key] : [])];
    const ran = this.secondReader(['--list', ...options, this.store, snapshot, archive]);
    assert.equal(ran.status, 0, ran.stderr);
    return ran.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Listed);
  }

  /** Whether the file system of `target` keeps extended attributes and ACLs. */
  keepsXattrs(): boolean {
    const probe = join(this.work, 'probe');
    writeFileSync(probe, '');
    const calls = [
      ['setfattr', '-n', 'user.probe', '-v', 'x', probe],
      ['setfacl', '-m', 'u:1:r', probe],
    ];
    return calls.every(([program = '', ...args]) => spawnSync(program, args).status === 0);
  }

  #run(args: readonly string[], env: Record<string, string>): Ran {
    return spawnSync('node', args, { encoding: 'utf8', env: { ...this.#env, ...env }, maxBuffer: 64 << 20 });
  }
}

/** What a list says of an entry, as it is expected. */
export function expectedOf({ hasHoles: _, linkOf: __, ...entry }: ExpectedEntry): object {
  return { ...entry, xattrs: entry.xattrs ?? {} };
}

export function listedOf(listed: Listed): object {
  const { path, type, mode, uid, gid, nlink, size, mtimeNs, target, xattrs, major, minor } = listed;
  const device = type.endsWith('device') ? { device: `${major}:${minor}` } : {};
  const content = {
    ...(listed.sha256 === undefined ? {} : { sha256: listed.sha256 }),
    ...(target === undefined ? {} : { target }),
  };
  return { path, type, mode, uid, gid, nlink, size, mtimeNs, ...device, ...content, xattrs };
}

const decoded = (xattrs: string) =>
  Object.fromEntries(
    [...eachXattr(Buffer.from(xattrs, 'latin1'))].map(({ name, value }) => [name, value.toString('base64')]),
  );

/** Compares what is at a path with what was backed up. With `all` everything, else what the second reader sets. */
function assertEntry(expected: ExpectedEntry, seen: Seen, { all, xattrs }: { all: boolean; xattrs: boolean }): void {
  const { path, type, mode } = expected;
  assert.equal(Number.parseInt(seen.mode, 8) & 0o7777, mode, `mode of ${path}`);
  assert.equal(seen.content, expected.sha256 ?? '', `content of ${path}`);
  assert.equal(seen.target, expected.target ?? '', `target of ${path}`);
  const away = seen.mtimeNs - BigInt(expected.mtimeNs);
  assert.ok(all ? away === 0n : away <= NEAR_NS && away >= -NEAR_NS, `time of ${path}: ${away} ns away`);
  if (expected.hasHoles)
    assert.doesNotMatch(seen.data, new RegExp(`^0-${expected.size}$`), `holes of ${path} were filled`);
  if (!all) return;
  assert.equal(seen.owner, `${expected.uid}:${expected.gid}`, `owner of ${path}`);
  if (type.endsWith('device')) assert.equal(seen.device, expected.device, `device of ${path}`);
  if (xattrs) assert.deepEqual(decoded(seen.xattrs), expected.xattrs ?? {}, `extended attributes of ${path}`);
}

export function assertTree(
  target: string,
  entries: readonly ExpectedEntry[],
  how: { all: boolean; xattrs: boolean },
): void {
  const isWritten = ({ type }: ExpectedEntry) => how.all || ['directory', 'file', 'symlink'].includes(type);
  const wanted = entries.filter(isWritten);
  const seen = seenTree(target);
  assert.deepEqual(Object.keys(seen).sort(), wanted.map(({ path }) => path).sort());
  for (const entry of wanted) assertEntry(entry, seen[entry.path] as Seen, how);
  const linked = wanted.filter(({ linkOf }) => linkOf !== undefined);
  for (const { path, linkOf } of linked)
    assert.equal(seen[path]?.linkOf, seen[linkOf as string]?.linkOf, `link ${path}`);
  assert.equal(new Set(Object.values(seen).map(({ linkOf }) => linkOf)).size, wanted.length - linked.length);
}

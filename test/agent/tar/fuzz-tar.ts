// Mutated tar archives through the reader and into the tree: whatever they hold, the answer is members or an error of the catalogue. For the test,
// and for hours in the soak.
import assert from 'node:assert/strict';
import { MemberTree } from '../../../src/agent/tar/member-tree.ts';
import { encodeMember } from '../../../src/agent/tar/write-member.ts';
import { FileType } from '../../../src/chunker/stat-block.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { bytes, END, packed, pax, plainMember, raw, readAll, reseal } from './archives.ts';

/** A generator of 32-bit numbers that a seed repeats (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** One of everything that the reader knows. */
function seedArchive(): Buffer {
  const extents = [
    { offset: 512, length: 5 },
    { offset: 4096, length: 3 },
  ];
  const old = Buffer.concat([raw({ type: 'S', name: bytes('old') }, Buffer.from('12345')), Buffer.alloc(0)]);
  old.write('00000000000\x0000000000005\0', 386, 'latin1');
  old.write('00000000100\0', 483, 'latin1');
  return Buffer.concat([
    pax({ comment: 'fuzz' }, 'g'),
    packed(plainMember({ path: bytes('./'), type: FileType.directory, mode: 0o755 })),
    packed(
      plainMember({ sizeBytes: 5, mtimeNs: 5n, xattrs: [{ name: bytes('user.a'), value: Buffer.from([0, 1]) }] }),
      Buffer.from('hello'),
    ),
    packed(plainMember({ path: bytes('./h'), type: 'link', linkTarget: bytes('./a') })),
    packed(plainMember({ path: bytes('./s'), sizeBytes: 9000, extents }), Buffer.from('12345678')),
    reseal(old),
    pax({ 'GNU.sparse.size': '50', 'GNU.sparse.map': '1,2,9,1' }),
    raw({ name: bytes('s01') }, Buffer.from('123')),
    raw({ type: 'L', name: bytes('l') }, Buffer.from('long/name\0')),
    raw({ type: '5' }),
    packed(
      plainMember({
        path: bytes('./b\xff'),
        type: FileType.symlink,
        linkTarget: bytes('../x'),
        aclAccess: 'user::rwx,group::r--,other::---',
      }),
    ),
    END,
  ]);
}

/** Flips, copies, swaps and cuts; often mends the checksums, or nothing behind them would be reached. */
function mutate(archive: Buffer, pick: (below: number) => number): Buffer {
  let copy = Buffer.from(archive);
  for (let times = 1 + pick(4); times > 0; times--) {
    const at = pick(copy.length);
    const kind = pick(7);
    if (kind < 3) copy[at] = pick(256);
    else if (kind === 3) copy.fill(pick(2) * 0xff, at, Math.min(copy.length, at + pick(16)));
    else if (kind === 4) copy.write('0123456789,=\n \0ABCDEFGHIJKLMNOPQRSTUVXgx'.charAt(pick(40)), at, 'latin1');
    else if (kind === 5) {
      const from = pick(copy.length / 512) * 512;
      copy = Buffer.concat([copy.subarray(0, from), copy.subarray(pick(copy.length / 512) * 512)]);
      if (copy.length === 0) return copy;
    } else copy[pick(copy.length / 512) * 512 + 156] = 'LKxgSDMV01234567'.charCodeAt(pick(16));
  }
  if (pick(4) > 0) {
    for (let at = 0; at + 512 <= copy.length; at += 512)
      if (copy.toString('latin1', at + 257, at + 262) === 'ustar') reseal(copy.subarray(at, at + 512));
  }
  return pick(8) === 0 ? copy.subarray(0, pick(copy.length)) : copy;
}

export interface FuzzReport {
  readonly taken: number;
  readonly refused: number;
}

/** @throws with the seed of the archive when one was answered in any other way than it may be. */
export async function fuzzTar(firstSeed: number, archives: number): Promise<FuzzReport> {
  const good = seedArchive();
  let refused = 0;
  for (let seed = firstSeed; seed < firstSeed + archives; seed++) {
    const pick = random(seed);
    const archive = mutate(good, pick);
    try {
      const { members } = await readAll(archive, 1 + pick(2048));
      const data = members.reduce((sum, each) => sum + each.data.length, 0);
      assert.ok(data <= archive.length, `${data} bytes of data from ${archive.length}`);
      takeAll(members.map(({ member }) => member));
    } catch (error) {
      if (!(error instanceof HoldfastError))
        throw new Error(`seed ${seed}: ${(error as Error).stack}`, { cause: error });
      refused++;
    }
  }
  return { taken: archives - refused, refused };
}

function takeAll(members: Awaited<ReturnType<typeof readAll>>['members'][number]['member'][]): void {
  const tree = new MemberTree(() => {});
  for (const member of members) {
    if (member.type === 'link') tree.link(member.path, member.linkTarget);
    else if (member.type === FileType.directory) tree.directory(member.path);
    else tree.file(member.path);
    // What was read can be written.
    encodeMember({ ...member, aclAccess: undefined, aclDefault: undefined });
  }
}

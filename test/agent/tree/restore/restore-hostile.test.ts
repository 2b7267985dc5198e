// Archives that somebody made to do harm: whatever they hold, nothing outside of the target changes, and only errors of the catalogue come out.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { encodeParts, LeafBuilder } from '../../../../src/chunker/directory.ts';
import { Kind, type ObjectId } from '../../../../src/chunker/object.ts';
import { FileType } from '../../../../src/chunker/stat-block.ts';
import type { ByteString } from '../../../../src/util/byte-string.ts';
import { HoldfastError } from '../../../../src/util/errors.ts';
import { seenTree } from '../seen-tree.ts';
import { TreeObjects } from '../tree-archive.ts';
import { restoreFromMemory } from './memory-restore.ts';

const SEED = 20261121;
const RUNS = 250;

const top = mkdtempSync(join(tmpdir(), 'hft-hostile-'));
after(() => {
  execFileSync('sh', ['-c', `chattr -R -ia ${top} 2>/dev/null; rm -rf ${top}`]);
});
let sandboxes = 0;

/** A target with neighbours, and with links to them in it. */
function sandbox(): { outside: string; target: string } {
  const directory = join(top, String(sandboxes++));
  const [outside, target] = [join(directory, 'outside'), join(directory, 'target')];
  mkdirSync(join(outside, 'dir'), { recursive: true });
  mkdirSync(target);
  writeFileSync(join(outside, 'victim'), 'untouched');
  writeFileSync(join(outside, 'dir/victim'), 'untouched');
  for (const name of ['a', 'dir', 'link']) symlinkSync('../outside/dir', join(target, name));
  symlinkSync('../outside/victim', join(target, 'victim'));
  return { outside, target };
}

/** Restores over what is there; the error of the catalogue that ended it. */
async function restoreInto(objects: TreeObjects, root: ObjectId, target: string): Promise<HoldfastError | undefined> {
  try {
    await restoreFromMemory(objects, root, target, { existing: 'replace', devices: true });
    return undefined;
  } catch (error) {
    assert.ok(error instanceof HoldfastError, `not an error of the catalogue: ${String((error as Error).stack)}`);
    return error;
  }
}

function build(objects: TreeObjects): ObjectId {
  const dir = objects.directory('dir', [
    objects.file('victim', ['evil']),
    objects.file('long', [Buffer.alloc(3000, 1)]),
  ]);
  const twins = ['p', 'q'].map((name) => objects.file(name, ['twin'], { nlink: 2, inode: 4n }));
  return objects.root(
    objects.directory('', [
      ...[dir, ...twins, objects.link('link', '../outside/dir'), objects.file('victim', ['evil'])],
      ...[objects.node('fifo', FileType.fifo), objects.directory('a', [objects.file('victim', ['evil'])])],
    ]),
  );
}

test('the archive as it is replaces the links in the target, not what they point to', async () => {
  const objects = new TreeObjects();
  const root = build(objects);
  const { outside, target } = sandbox();
  const before = seenTree(outside);
  assert.equal(await restoreInto(objects, root, target), undefined);
  assert.deepEqual(seenTree(outside), before);
  assert.equal(seenTree(target)['dir/victim']!.size, 4);
});

test(`changed directory objects reach nothing outside (seed ${SEED})`, async () => {
  const bad = fc.oneof(fc.constantFrom(0, 1, 2, 46, 47, 0x7f, 0xff), fc.integer({ min: 0, max: 255 }));
  const change = fc.record({ object: fc.nat(), at: fc.nat(), byte: bad });
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const objects = new TreeObjects();
      const root = build(objects);
      const directories = [...objects.objects.values()].filter(({ kind }) => kind === Kind.directory);
      for (const { object, at, byte } of changes) {
        const { payload } = directories[object % directories.length]!;
        payload[at % payload.length] = byte;
      }
      const { outside, target } = sandbox();
      const before = seenTree(outside);
      if ((await restoreInto(objects, root, target)) !== undefined) refused++;
      assert.deepEqual(seenTree(outside), before);
    }),
    { seed: SEED, numRuns: RUNS },
  );
  assert.ok(refused > RUNS / 10 && refused < RUNS, `${refused} of ${RUNS} were refused`);
});

test('a name twice, in two parts of a directory, is refused: no link is made first and gone through then', async () => {
  const objects = new TreeObjects();
  const part = (names: readonly ReturnType<TreeObjects['file']>[]): ObjectId => {
    const leaf = new LeafBuilder();
    for (const entry of names) leaf.add(entry);
    const { refs, payload } = leaf.finish();
    return objects.put(Kind.directory, refs, payload);
  };
  const first = part([objects.file('A', ['x']), objects.link('z', '../outside/dir')]);
  const second = part([objects.file('B', ['x']), objects.directory('z', [objects.file('victim', ['evil'])])]);
  const { refs, payload } = encodeParts([
    { first: 'A' as ByteString, id: first },
    { first: 'B' as ByteString, id: second },
  ]);
  const root = objects.root({ ...objects.directory('', []), refs: objects.put(Kind.directory, refs, payload) });
  const { outside, target } = sandbox();
  const before = seenTree(outside);
  assert.equal((await restoreInto(objects, root, target))?.code, 'object-damaged');
  assert.deepEqual(seenTree(outside), before);
});

test('names that lead elsewhere are refused', async () => {
  for (const name of ['..', '.', '/etc/passwd', '../outside/victim', 'a/../../outside/victim', 'nul\0', '']) {
    const objects = new TreeObjects();
    const root = objects.root(objects.directory('', [objects.file(name, ['evil'])]));
    const { outside, target } = sandbox();
    const before = seenTree(outside);
    assert.equal((await restoreInto(objects, root, target))?.code, 'object-damaged', JSON.stringify(name));
    assert.deepEqual(seenTree(outside), before);
  }
});

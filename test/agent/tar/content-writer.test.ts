// Contents in any sizes and portions, through real threads: the pieces are those of a content alone, and come back.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { ContentWriter } from '../../../src/agent/tar/content-writer.ts';
import type { EntryContent } from '../../../src/agent/tree/content-builder.ts';
import { filePieces } from '../../../src/agent/tree/file-content.ts';
import { streamCutParameters } from '../../../src/chunker/cut-parameters.ts';
import { Content, type DirectoryEntry } from '../../../src/chunker/directory.ts';
import type { ObjectId } from '../../../src/chunker/object.ts';
import { FileType, writeStat } from '../../../src/chunker/stat-block.ts';
import type { BackupSession } from '../../../src/datastore/sessions/backup-session.ts';
import { createTemporaryStore, OpenStore } from '../../support/store.ts';
import { bytes } from './archives.ts';

const MiB = 1024 * 1024;
let remove: () => Promise<void>;
let open: OpenStore;
let session: BackupSession;

before(async () => {
  const store = await createTemporaryStore();
  remove = store.remove;
  open = await OpenStore.open(store.root);
  session = await open.session('ct/1');
  await open.pool.all('backup.openStream', streamCutParameters(65536));
});

after(async () => {
  await session.suspend();
  await open.close();
  await remove();
});

/** Bytes of a content, or the length of a hole. */
type Step = Buffer | number;

/** Stores contents, each in portions of `portion`. */
async function store(contents: readonly (readonly Step[])[], portion: number): Promise<EntryContent[]> {
  const writer = new ContentWriter(open.pool, session.id, (kind, refs, payload) => session.put(kind, refs, payload));
  const stored: EntryContent[] = [];
  for (const [place, steps] of contents.entries()) {
    writer.begin((content) => {
      assert.equal(stored[place], undefined);
      stored[place] = content;
    });
    for (const step of steps)
      if (typeof step === 'number') await writer.hole(step);
      else for (let at = 0; at < step.length; at += portion) await writer.write(step.subarray(at, at + portion));
    await writer.end();
  }
  await writer.finish();
  // What lies in write buffers cannot be read yet.
  await open.pool.all('store.flush', session.id);
  return stored;
}

async function readBack(content: EntryContent, sizeBytes: number): Promise<Buffer> {
  const stat = writeStat({
    mode: FileType.file,
    uid: 0,
    gid: 0,
    nlink: 1,
    sizeBytes,
    mtimeNs: 0n,
    ctimeNs: 0n,
    inode: 0n,
    major: 0,
    minor: 0,
    attributes: 0,
  });
  const entry: DirectoryEntry = { name: bytes('f'), marks: 0, errno: 0, stat, xattrs: new Uint8Array(0), ...content };
  const parts: Buffer[] = [];
  for await (const piece of filePieces((id: ObjectId) => session.get(id), entry)) {
    if (piece.id === undefined) parts.push(Buffer.alloc(piece.length));
    else parts.push(Buffer.from((await session.get(Buffer.from(piece.id) as ObjectId)).payload));
  }
  return Buffer.concat(parts);
}

const whole = (steps: readonly Step[]): Buffer =>
  Buffer.concat(steps.map((step) => (typeof step === 'number' ? Buffer.alloc(step) : step)));

test('contents of every size come back, whatever portions they came in, and are cut as if they were alone', async () => {
  const sizes = [1, 600, 65536, MiB - 600 - 65536 - 1, 1, MiB, 3 * MiB + 17, 5, 0, 700_000, 2 * MiB];
  const contents: Step[][] = sizes.map((size) => [randomBytes(size)]);
  contents.push(
    [randomBytes(100), 50_000, randomBytes(2 * MiB), 4096],
    [1_000_000],
    [200_000, randomBytes(3)],
    [5, 6, randomBytes(MiB)],
  );
  const together = await store(contents, 300_000);
  const again = await store([...contents].reverse(), 65_537);
  for (const [place, steps] of contents.entries()) {
    const content = together[place] as EntryContent;
    const size = whole(steps).length;
    if (size > 0) assert.ok((await readBack(content, size)).equals(whole(steps)), `content ${place}`);
    assert.deepEqual(again[contents.length - 1 - place], content, `content ${place} alone`);
  }
});

test('up to 64 pieces are named by the entry, more by lists; a hole that a piece cannot have needs a list', async () => {
  const holes = (count: number): Step[] => Array.from({ length: count }, () => 5000);
  const [few, many, huge] = await store([holes(64), holes(65), [2 ** 31]], MiB);
  assert.equal(few?.content, Content.pieces);
  assert.equal(few?.contentBytes.length, 64 * 4);
  assert.equal(many?.content, Content.list);
  assert.equal(huge?.content, Content.list);
  assert.ok((await readBack(many as EntryContent, 65 * 5000)).equals(Buffer.alloc(65 * 5000)));
});

test('thousands of small contents need few calls', async (t) => {
  const contents = Array.from({ length: 3000 }, (_, place) => [Buffer.from(`content ${place} `.repeat(60))]);
  const calls = t.mock.method(open.pool, 'call');
  const stored = await store(contents, MiB);
  const batches = calls.mock.calls.filter((call) => call.arguments[1] === 'backup.contents');
  const sizeBytes = contents.reduce((sum, [content]) => sum + (content as Buffer).length, 0);
  assert.ok(batches.length <= Math.ceil(sizeBytes / MiB), `${batches.length} calls`);
  const wanted = contents[1234]?.[0] as Buffer;
  assert.ok((await readBack(stored[1234] as EntryContent, wanted.length)).equals(wanted));
});

test('a failure in a thread ends the writing, and says why', async () => {
  const writer = new ContentWriter(open.pool, 'no-such-session', () => Promise.reject(new Error('not asked')));
  writer.begin(() => assert.fail('nothing is stored'));
  await writer.write(Buffer.from('x'.repeat(1000)));
  await writer.end();
  await assert.rejects(writer.finish(), { code: 'aborted' });
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openTar } from '../../../src/agent/tar/open-tar.ts';
import { Compressor, compressBound } from '../../../src/chunker/zstd.ts';
import { HoldfastError } from '../../../src/util/errors.ts';
import { NO_SIGNAL } from '../../support/store.ts';

function zstd(plain: Buffer): Buffer {
  const frame = Buffer.alloc(compressBound(plain.length));
  return frame.subarray(0, new Compressor(3, true).compress(frame, plain));
}

/** All bytes of an archive that comes in portions of `portion`. */
async function read(archive: Buffer, portion = 1000): Promise<Buffer> {
  const portions = Array.from({ length: Math.ceil(archive.length / portion) }, (_, place) =>
    archive.subarray(place * portion, (place + 1) * portion),
  );
  const parts: Buffer[] = [];
  for await (const part of openTar(Readable.from(portions, { objectMode: false }), NO_SIGNAL)) parts.push(part);
  return Buffer.concat(parts);
}

const plain = Buffer.from('some text that goes on and on, '.repeat(40_000));

const lzop = (bytes: Buffer): Buffer => execFileSync('lzop', ['-c'], { input: bytes });

test('plain, gzip, lzop and zstd of one frame or many, in portions of any size', async () => {
  const half = plain.length >> 1;
  const frames = Buffer.concat([zstd(plain.subarray(0, half)), zstd(plain.subarray(half))]);
  for (const portion of [1, 5, 1000, 10_000_000])
    for (const archive of [zstd(plain), frames, gzipSync(plain)])
      assert.ok((await read(archive, portion)).equals(plain));
  for (const portion of [5000, 10_000_000]) assert.ok((await read(lzop(plain), portion)).equals(plain));
  // A frame to skip, as programs that compress with many threads begin with.
  const skipped = Buffer.from('502a4d180400000001020304', 'hex');
  assert.ok((await read(Buffer.concat([skipped, zstd(plain)]))).equals(plain));
  assert.ok((await read(plain)).equals(plain));
  assert.equal((await read(Buffer.alloc(0))).length, 0);
  assert.equal((await read(Buffer.from('abc'))).toString(), 'abc');
});

test('compressed data that is cut off or changed is an error, wherever', async () => {
  for (const archive of [zstd(plain), gzipSync(plain), lzop(plain)]) {
    for (const length of [7, archive.length >> 1, archive.length - 1])
      await assert.rejects(read(archive.subarray(0, length)), { code: 'source-failed' }, `${length} bytes`);
    const changed = Buffer.from(archive);
    changed[archive.length - 3] = (changed[archive.length - 3] as number) ^ 1;
    await assert.rejects(read(changed), { code: 'source-failed' });
  }
});

test('a stream that fails says why, and one that is silent can be stopped', async () => {
  const failing = new PassThrough();
  failing.write(gzipSync(plain).subarray(0, 100));
  setImmediate(() => failing.destroy(new Error('the cable')));
  await assert.rejects(
    async () => {
      for await (const _ of openTar(failing, NO_SIGNAL));
    },
    { code: 'source-failed', message: /the cable/ },
  );
  const interrupt = new AbortController();
  const silent = new PassThrough();
  silent.write('x');
  const reading = (async () => {
    for await (const _ of openTar(silent, interrupt.signal));
  })();
  setImmediate(() => interrupt.abort(new HoldfastError('aborted', 'stopped')));
  await assert.rejects(reading, { code: 'aborted' });
  assert.ok(silent.destroyed);
});

test('whoever stops reading stops lzop, and where it is not installed the package is named', async (t) => {
  const archive = lzop(Buffer.alloc(50_000_000, 'x'));
  for await (const part of openTar(Readable.from([archive], { objectMode: false }), NO_SIGNAL)) {
    assert.ok(part.length > 0);
    break;
  }
  const path = process.env.PATH;
  process.env.PATH = '/nowhere';
  t.after(() => {
    process.env.PATH = path;
  });
  await assert.rejects(read(archive), { code: 'tool-missing', message: /Debian package lzop/ });
});

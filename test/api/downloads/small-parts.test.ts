// The parts that downloads are made of: places, ranges, headers, paths.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dispositionOf } from '../../../src/api/downloads/byte-answer.ts';
import { spanOf } from '../../../src/api/downloads/byte-range.ts';
import { Places } from '../../../src/api/downloads/places.ts';
import { readFilePath } from '../../../src/api/downloads/snapshot-files.ts';
import { parseAuthId } from '../../../src/schema/auth-id.ts';
import type { ByteString } from '../../../src/util/byte-string.ts';
import type { HoldfastError } from '../../../src/util/errors.ts';

const ANNA = parseAuthId('anna@pbs');
const TOKEN = parseAuthId('anna@pbs!laptop');
const BERTA = parseAuthId('berta@pbs');
const tooMany = (error: HoldfastError): boolean => error.code === 'too-many';

test('places are few for a user with its tokens, and for a datastore; each comes back once', () => {
  const places = new Places('downloads', { ofStore: 3, ofUser: 2 });
  const first = places.take('one', ANNA);
  places.take('one', TOKEN);
  assert.throws(() => places.take('one', ANNA), tooMany);
  places.take('two', ANNA);
  const third = places.take('one', BERTA);
  assert.throws(() => places.take('one', parseAuthId('carl@pbs')), tooMany);
  assert.equal(places.takenIn('one'), 3);
  first();
  first();
  assert.equal(places.takenIn('one'), 2);
  places.take('one', ANNA);
  assert.throws(() => places.take('one', BERTA), tooMany);
  third();
  places.take('one', BERTA);
});

test('a range is what RFC 9110 takes for one; several, and what is none, are the whole file', () => {
  const of = (range: string | undefined, ifRange?: string) => spanOf({ range, ifRange }, 1000, '"v1"');
  assert.deepEqual(of('bytes=0-0'), { start: 0, end: 1 });
  assert.deepEqual(of('bytes=10-19'), { start: 10, end: 20 });
  assert.deepEqual(of('bytes=990-'), { start: 990, end: 1000 });
  assert.deepEqual(of('bytes=-10'), { start: 990, end: 1000 });
  assert.deepEqual(of('bytes=-5000'), { start: 0, end: 1000 });
  assert.deepEqual(of('bytes=10-99999'), { start: 10, end: 1000 });
  for (const none of [undefined, 'bytes=-', 'bytes=5-2', 'bytes=0-1,5-9', 'lines=0-1', 'bytes=a-b', 'bytes=0x1-2', ''])
    assert.equal(of(none), undefined, String(none));
  for (const outside of ['bytes=1000-', 'bytes=1000-1001', 'bytes=-0'])
    assert.throws(
      () => of(outside),
      (error: { status?: number }) => error.status === 416,
    );
  assert.deepEqual(of('bytes=0-9', '"v1"'), { start: 0, end: 10 });
  assert.equal(of('bytes=0-9', '"v2"'), undefined);
  assert.throws(() => spanOf({ range: 'bytes=0-', ifRange: undefined }, 0, '"v"'), /0 bytes/);
});

test('no name gets out of its header', () => {
  assert.equal(
    dispositionOf('plain.txt' as ByteString),
    `attachment; filename="plain.txt"; filename*=UTF-8''plain.txt`,
  );
  assert.equal(
    dispositionOf(Buffer.from('ä b.txt').toString('latin1') as ByteString),
    `attachment; filename="__ b.txt"; filename*=UTF-8''%C3%A4%20b.txt`,
  );
  for (const hostile of ['a"; x="', 'a\r\nset-cookie: b=c', 'a\\"', '\xff\xfe', "a'b", '%0d%0a', 'a;b\0c']) {
    const header = dispositionOf(hostile as ByteString);
    const form = /^attachment; filename="([ -~]*)"; filename\*=UTF-8''((?:[A-Za-z0-9._~-]|%[0-9A-F]{2})*)$/.exec(
      header,
    );
    assert.ok(form, header);
    assert.doesNotMatch(form[1] as string, /["\\%]/);
  }
});

test('a path names an archive and a place in it', () => {
  const of = (path: string, archive?: string) => readFilePath(Buffer.from(path, 'latin1').toString('base64'), archive);
  const top = { archive: undefined, path: '', given: '' };
  assert.deepEqual(readFilePath('root', undefined), top);
  assert.deepEqual(readFilePath('/', undefined), top);
  assert.deepEqual(of('/'), top);
  assert.deepEqual(of('/root.tree'), { archive: 'root.tree', path: '', given: '/root.tree' });
  assert.deepEqual(of('root.tree//etc/hosts/'), {
    archive: 'root.tree',
    path: 'etc/hosts',
    given: '/root.tree/etc/hosts',
  });
  assert.deepEqual(of('/root.tree/\xff\xe4'), { archive: 'root.tree', path: '\xff\xe4', given: '/root.tree/\xff\xe4' });
  assert.deepEqual(of('/etc', 'root.tree'), { archive: 'root.tree', path: 'etc', given: '/etc' });
  assert.deepEqual(readFilePath('root', 'root.tree'), { archive: 'root.tree', path: '', given: '' });
  assert.deepEqual(readFilePath(Buffer.from('/a').toString('base64').replace(/=+$/, ''), undefined).archive, 'a');
});

test('a path that climbs, or is no base64, is refused', () => {
  for (const path of ['/root.tree/../x', '..', '/root.tree/a/../../b', '/root.tree/./a', '/root.tree/a\0b'])
    assert.throws(() => readFilePath(Buffer.from(path).toString('base64'), undefined), /filepath.*no name/, path);
  for (const text of ['/root.tree/etc', 'a b', '%2F', '=', 'YQ=x', 'Zh=='])
    assert.throws(() => readFilePath(text, undefined), /not base64/, text);
});

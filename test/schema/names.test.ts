import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  archiveKind,
  formatTime,
  MAX_TIME,
  parseGroup,
  parseNamespace,
  parseSnapshotRef,
  parseTime,
  requireSafe,
} from '../../src/schema/names.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const bad = { code: 'bad-name' };

/** Names that must never become a part of a path. */
const HOSTILE = [
  '',
  '.',
  '..',
  '...',
  '.hidden',
  '-rf',
  'a b',
  'a/b',
  '/a',
  'a/',
  'a\\b',
  'a\0b',
  'a\nb',
  'a\n',
  '\u001b[31m',
  '\u009b31m',
  'ä',
  'ａ',
  'a\u0301',
  'vm\u202e',
  '💾',
  'a:b',
  'a*',
  '$(x)',
  '%2e%2e',
  'x'.repeat(129),
  'x'.repeat(300),
];

test('hostile names are refused wherever a name becomes part of a path', () => {
  for (const name of HOSTILE) {
    assert.throws(() => requireSafe(name, 'name'), bad, JSON.stringify(name));
    assert.throws(() => parseGroup(`vm/${name}`), bad);
    if (name !== '' && !/^[\w.-]+\/?[\w.-]*$/.test(name)) assert.throws(() => parseNamespace(name), bad);
    assert.throws(() => parseNamespace(`a/${name}/b`.replace('a/a/b/b', 'a/../b')), bad);
    assert.throws(() => archiveKind(`${name}/x.img`), bad);
    assert.throws(() => parseSnapshotRef(`vm/${name}/latest`), bad);
  }
});

test('what is accepted holds only harmless characters, for any text', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 20 }),
        fc.string({ unit: fc.constantFrom('a', 'Z', '0', '.', '/', '_', '-'), maxLength: 12 }),
      ),
      (text) => {
        try {
          requireSafe(text, 'name');
        } catch (error) {
          assert.ok(error instanceof HoldfastError && error.code === 'bad-name');
          return;
        }
        assert.match(text, /^[A-Za-z0-9_]/);
        assert.ok([...text].every((char) => /[A-Za-z0-9._-]/.test(char)));
        assert.ok(text !== '.' && text !== '..');
      },
    ),
  );
});

test('good names', () => {
  for (const id of ['0', '101', 'web-1', 'Web_1.example.org', '_x', 'x'.repeat(128), 'a..b']) {
    for (const type of ['vm', 'ct', 'host']) assert.equal(parseGroup(`${type}/${id}`), `${type}/${id}`);
  }
  assert.equal(parseNamespace(''), '');
  assert.equal(parseNamespace('a/b/c/d/e/f/g'), 'a/b/c/d/e/f/g');
  assert.equal(parseNamespace('ns/vm'), 'ns/vm');
});

test('groups have a type that we know and exactly two parts', () => {
  for (const text of [
    '',
    'vm',
    'vm/',
    '/101',
    'VM/101',
    'lxc/101',
    'vm/101/',
    'vm/1/2',
    'vm//1',
    ' vm/1',
    'vm/1 ',
    'ns/a',
  ]) {
    assert.throws(() => parseGroup(text), bad, text);
  }
});

test('namespaces are bounded in depth and length', () => {
  assert.throws(() => parseNamespace('a/b/c/d/e/f/g/h'), { ...bad, message: /at most 7 parts/ });
  assert.equal(parseNamespace(`${'x'.repeat(127)}/${'y'.repeat(128)}`).length, 256);
  assert.throws(() => parseNamespace(`${'x'.repeat(128)}/${'y'.repeat(128)}`), { ...bad, message: /256 bytes/ });
  for (const text of ['/', '/a', 'a/', 'a//b', 'a/./b', 'a/../b']) assert.throws(() => parseNamespace(text), bad, text);
});

test('an archive name says what is stored', () => {
  assert.equal(archiveKind('drive-scsi0.img'), 'image');
  for (const name of ['qemu-server.conf', 'firewall.fw', 'client.log', 'a.json', 'x.blob'])
    assert.equal(archiveKind(name), 'blob');
  for (const name of ['disk', 'disk.IMG', 'disk.img.gz', 'img', '.img', 'x.pxar', 'a.img\n'])
    assert.throws(() => archiveKind(name), bad);
});

test('a snapshot is a group and a time, or latest', () => {
  assert.deepEqual(parseSnapshotRef('vm/101/latest'), { group: 'vm/101', time: undefined });
  assert.deepEqual(parseSnapshotRef('ct/web/2026-11-20T02:00:00Z'), {
    group: 'ct/web',
    time: Date.UTC(2026, 10, 20, 2) / 1000,
  });
  assert.deepEqual(parseSnapshotRef('vm/101/1790000000'), { group: 'vm/101', time: 1_790_000_000 });
  for (const text of ['', 'vm', 'vm/101', 'latest', 'vm/101/', 'vm/101/newest', 'vm/101/latest/x', '/latest']) {
    assert.throws(() => parseSnapshotRef(text), bad, text);
  }
});

test('times: RFC 3339 with any offset, or Unix seconds', () => {
  const expected = Date.UTC(2026, 10, 20, 2) / 1000;
  for (const text of [
    '2026-11-20T02:00:00Z',
    '2026-11-20T02:00:00.999Z',
    '2026-11-20T03:30:00+01:30',
    '2026-11-19T21:00:00-05:00',
    String(expected),
  ]) {
    assert.equal(parseTime(text), expected, text);
  }
  assert.equal(parseTime('0'), 0);
  assert.equal(parseTime('2028-02-29T00:00:00Z'), Date.UTC(2028, 1, 29) / 1000);
  assert.equal(parseTime('9999-12-31T23:59:59Z'), MAX_TIME);
});

test('times that do not exist are refused, never taken for another time', () => {
  const none = [
    '',
    'now',
    '-1',
    '1.5',
    '1e9',
    '2026-11-20',
    '2026-11-20 02:00:00Z',
    '2026-11-20T02:00:00',
    '2026-11-20T02:00Z',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '2026-02-29T00:00:00Z',
    '2026-02-30T00:00:00Z',
    '2026-04-31T00:00:00+02:00',
    '2026-01-01T24:00:00Z',
    '2026-01-01T23:60:00Z',
    '2026-12-31T23:59:60Z',
    '2026-01-01T00:00:00+24:00',
    '1969-12-31T23:59:59Z',
    '9999-12-31T23:59:59-00:01',
    '10000-01-01T00:00:00Z',
    String(MAX_TIME + 1),
    '999999999999',
    '9'.repeat(400),
  ];
  for (const text of none) assert.throws(() => parseTime(text), bad, text);
});

test('a time and its label go into each other', () => {
  assert.equal(formatTime(0), '1970-01-01T00:00:00Z');
  assert.equal(formatTime(MAX_TIME), '9999-12-31T23:59:59Z');
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_TIME }), (seconds) => {
      const label = formatTime(seconds);
      assert.match(label, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      assert.equal(parseTime(label), seconds);
    }),
  );
});

test('a hostile name is shown without what could act on a terminal, and short', () => {
  const hostile = `\u001b]0;x\u0007\u009b2J\u007f\u202e\u2028\r\n${'y'.repeat(500)}`;
  try {
    requireSafe(hostile, 'name');
    assert.fail('accepted');
  } catch (error) {
    const { message, data } = error as HoldfastError;
    assert.match(message, /^[ -~…]*$/);
    assert.ok(message.length < 400);
    assert.deepEqual(data, { name: hostile });
  }
});

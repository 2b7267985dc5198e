// What a restore takes: the verdict over paths, and patterns that select nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Selection } from '../../../../src/agent/tree/restore/selection.ts';
import { type ByteString, fromText } from '../../../../src/util/byte-string.ts';

const verdict = (paths: string[], patterns: string[], path: string, isDirectory = false): string =>
  new Selection(paths.map(fromText), patterns.map(fromText)).verdict(fromText(path), isDirectory);

test('paths select themselves, and lead to themselves', () => {
  assert.equal(verdict(['etc/ssh'], [], 'etc/ssh', true), 'all');
  assert.equal(verdict(['./etc//ssh/'], [], 'etc/ssh', true), 'all');
  assert.equal(verdict(['etc/ssh'], [], 'etc', true), 'below');
  assert.equal(verdict(['etc/ssh'], [], 'et', true), 'none');
  assert.equal(verdict(['etc/ssh'], [], 'etc/sshd', true), 'none');
  assert.deepEqual(new Selection([fromText('b/c'), fromText('a')], []).names('' as ByteString), ['a', 'b']);
});

test('patterns select as those of excludes exclude', () => {
  assert.equal(verdict([], ['*.conf'], 'etc/x/a.conf'), 'all');
  assert.equal(verdict([], ['etc/*.conf'], 'etc/a.conf'), 'all');
  assert.equal(verdict([], ['etc/*.conf'], 'etc/x/a.conf'), 'below');
  assert.equal(verdict([], ['home/**/*.txt'], 'home/a/b/c.txt'), 'all');
  assert.equal(verdict([], ['cache/'], 'var/cache', true), 'all');
  assert.equal(verdict([], ['cache/'], 'var/cache', false), 'below');
  assert.equal(verdict([], ['\u00e9*'], '\u00e9t\u00e9'), 'all');
});

test('a pattern that can select nothing is refused, with the reason', () => {
  for (const pattern of ['', '/', '[a', 'a\\', '!a', 'a//b'])
    assert.throws(() => new Selection([], [fromText(pattern)]), { code: 'bad-argument' }, JSON.stringify(pattern));
});

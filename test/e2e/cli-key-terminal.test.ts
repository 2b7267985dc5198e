// Questions about keys on a terminal, which `script` plays: nothing of a passphrase is shown, and standard input stays what it is.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { without } from '../agent/nbd/servers.ts';
import { newPlace } from '../cli/holdfast.ts';
import { onTerminal } from '../cli/on-terminal.ts';

test('a passphrase is asked for, twice when it is new, and never shown', { skip: without('script') }, async (t) => {
  const place = await newPlace(t);
  const key = place.path('key');
  const differ = await onTerminal(
    place,
    ['key', 'create', key],
    [
      ['New passphrase', 'a good passphrase\r'],
      ['The same again', 'a bad passphrase\r'],
    ],
  );
  assert.equal(differ.code, 2);
  assert.match(differ.screen, /the two passphrases differ/);
  const stopped = await onTerminal(place, ['key', 'create', key], [['New passphrase', 'abc\x03']]);
  assert.equal(stopped.code, 130);
  const made = await onTerminal(
    place,
    ['key', 'create', key],
    [
      ['New passphrase', 'a good passphrasf\x7fe\r'],
      ['The same again', 'wrong\x15a good passphrase\r'],
    ],
  );
  assert.equal(made.code, 0, made.screen);
  for (const { screen } of [differ, stopped, made]) assert.ok(!/good|abc/.test(screen), screen);

  writeFileSync(place.path('conf'), 'content');
  const backup = ['backup', '--group', 'vm/101', `a.conf:${place.path('conf')}`, '--keyfile', key];
  const ask: [string, string] = ['Passphrase of', 'a good passphrase\r'];
  const refused = await onTerminal(place, backup, [ask, ['Type yes', 'no\r']]);
  assert.equal(refused.code, 17, refused.screen);
  assert.match(refused.screen, /key paper.*key create-recovery.*key set-recovery/s);
  assert.equal(JSON.parse(readFileSync(key, 'utf8')).acknowledged, null);
  const done = await onTerminal(place, backup, [ask, ['Type yes', 'yes\r']]);
  assert.equal(done.code, 0, done.screen);
  assert.match(done.screen, /as it is: yes/);
  const again = await onTerminal(place, backup, [ask]);
  assert.equal(again.code, 0, again.screen);
  const wrong = await onTerminal(
    place,
    ['restore', 'vm/101/latest', 'a.conf', place.path('out'), '--keyfile', key],
    [['Passphrase of', 'no such\r']],
  );
  assert.equal(wrong.code, 16);
});

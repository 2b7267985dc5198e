// Questions about keys on a terminal, which `script` plays: nothing of a passphrase is shown, and standard input stays what it is.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { without } from '../agent/nbd/servers.ts';
import { newPlace, type Place, PROGRAM } from '../cli/holdfast.ts';

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** Runs a command on a terminal and types each answer once its question is there. */
async function onTerminal(
  place: Place,
  args: readonly string[],
  answers: readonly (readonly [question: string, answer: string])[],
): Promise<{ code: number | null; screen: string }> {
  const command = `${[process.execPath, PROGRAM, ...args].map(quote).join(' ')} < /dev/null`;
  const env = {
    ...process.env,
    HOLDFAST_REPOSITORY: place.repository,
    HOLDFAST_STATE_DIR: place.path('state'),
    HOLDFAST_KEY_PASSPHRASE: '',
  };
  const child = spawn('script', ['-qec', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  let screen = '';
  let seen = 0;
  const left = [...answers];
  child.stdout.on('data', (data: Buffer) => {
    screen += data;
    const [question, answer] = left[0] ?? [];
    if (question === undefined || !screen.slice(seen).includes(question)) return;
    seen = screen.length;
    left.shift();
    child.stdin.write(answer as string);
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  assert.deepEqual(left, [], screen);
  return { code, screen };
}

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

// What a user sees while a command runs: a bar on a terminal, which `script` plays, and lines in a log.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern, without } from '../agent/nbd/servers.ts';
import { newPlace, PROGRAM, start } from '../cli/holdfast.ts';

const MiB = 1024 * 1024;
const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

test('a terminal shows a bar, which is gone when the result is printed', { skip: without('script') }, async (t) => {
  const place = await newPlace(t);
  const backup = [process.execPath, PROGRAM, 'backup', '--group', 'vm/101', 'disk0.img:-'].map(quote).join(' ');
  const feed = '(head -c 20M /dev/urandom; sleep 0.4; head -c 20M /dev/urandom; sleep 0.4; head -c 1M /dev/urandom)';
  const env = { ...process.env, HOLDFAST_REPOSITORY: place.repository };
  const { status, stdout } = spawnSync('script', ['-qec', `${feed} | ${backup}`, '/dev/null'], {
    env,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is how a bar is drawn over
  assert.match(stdout, /\r\x1b\[Kdisk0\.img \[\.{30}\] \d+\.\d+ MiB \d+(\.\d+)? [KM]iB\/s/);
  const [bar, result] = stdout.split('\r\x1b[Ksnapshot ');
  assert.ok(bar.includes('disk0.img ['));
  assert.match(result, /^ *vm\/101\//);
});

test('a log gets a line every ten seconds; a short command and JSON get none', async (t) => {
  const place = await newPlace(t);
  const env = { HOLDFAST_REPOSITORY: place.repository };
  const slow = [[], ['--output-format', 'json']].map(async (more, at) => {
    // One after the other could not hold the store: a store each.
    const own = at === 0 ? place : await newPlace(t);
    const { child, ended } = start(['backup', '--group', 'vm/101', 'disk0.img:-', ...more], {
      env: { ...env, HOLDFAST_REPOSITORY: own.repository },
    });
    for (let second = 0; second < 12; second++) {
      child.stdin?.write(pattern(2 * MiB, second + 1));
      await sleep(1000);
    }
    child.stdin?.end();
    return await ended;
  });
  const [text, json] = await Promise.all(slow);
  assert.equal(text.code, 0);
  assert.match(text.stderr, /^disk0\.img: +\d+\.\d+ MiB, \d+(\.\d+)? [KM]iB\/s\n$/);
  assert.equal(json.stderr, '');
  const short = await place.try(['backup', '--group', 'vm/102', 'disk0.img:-'], { stdin: pattern(MiB, 1) });
  assert.equal(short.stderr, '');
});

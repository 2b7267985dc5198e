// A host whose files get encrypted, as users see it: the backup warns, prune keeps, the list says why, and somebody settles it.
import assert from 'node:assert/strict';
import { createCipheriv, randomBytes } from 'node:crypto';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { listed, newPlace, type Place } from './holdfast.ts';

const FILES = 80;
const FILE_BYTES = 1024 * 1024;
const NIGHTS = ['01', '02', '03', '04', '05', '06'].map((day) => `2026-03-${day}T01:00:00Z`);
const AFTER = '2026-03-07T01:00:00Z';

/** Notes as people write them: each file with words of its own, which compress as text does. */
function text(seed: number): string {
  const words = ['invoice', 'meeting', 'budget', 'holiday', 'contract', 'server', 'report', 'travel'];
  let [out, state] = ['', seed + 1];
  while (out.length < FILE_BYTES) {
    state = (state * 48271) % 2147483647;
    out += `${words[state % words.length]} ${state % 9973} `;
  }
  return out.slice(0, FILE_BYTES);
}

/** A directory of documents and six nights of it, in which little is added. */
async function workingHost(
  t: TestContext,
): Promise<{ place: Place; documents: string; backup(time: string): Promise<string> }> {
  const place = await newPlace(t);
  const documents = place.path('documents');
  mkdirSync(documents);
  for (let n = 0; n < FILES; n++) writeFileSync(join(documents, `${n}.txt`), text(n));
  const backup = async (time: string): Promise<string> => {
    const ran = await place.try(['backup', '--group', 'host/office', `root.tree:${documents}`, '--time', time]);
    assert.equal(ran.code, 0, ran.stderr);
    return ran.stderr;
  };
  for (const time of NIGHTS) {
    appendFileSync(join(documents, 'diary.txt'), text(Date.parse(time) / 1000).slice(0, 50_000));
    assert.doesNotMatch(await backup(time), /warning/);
  }
  return { place, documents, backup };
}

/** What ransomware does. */
function encryptAll(documents: string): void {
  const [key, iv] = [randomBytes(32), randomBytes(16)];
  for (const name of readdirSync(documents)) {
    const path = join(documents, name);
    const cipher = createCipheriv('aes-256-ctr', key, iv);
    writeFileSync(`${path}.locked`, Buffer.concat([cipher.update(readFileSync(path)), cipher.final()]));
    writeFileSync(path, '');
  }
}

test('files that get encrypted: a warning, no prune, the last good snapshots protected, until somebody has looked', async (t) => {
  const { place, documents, backup } = await workingHost(t);
  assert.deepEqual(await place.json('anomaly', 'list'), []);
  encryptAll(documents);
  const said = await backup(AFTER);
  assert.match(
    said,
    /warning: host\/office added 8\d\.\d MiB at 2026-03-07T01:00:00Z, .*100 % of it.*holdfast anomaly clear/,
  );

  const rules = await place.json<{ rule: string }[]>('prune', '--keep-last', '1');
  assert.deepEqual(
    rules.map(({ rule }) => rule),
    ['anomaly', 'anomaly', 'anomaly', 'protected', 'protected', 'protected', 'keep-last'],
  );
  assert.equal((await listed(place)).length, 7);
  const forgotten = await place.try(['snapshot', 'forget', `host/office/${NIGHTS[5]}`]);
  assert.match(forgotten.stderr, /is protected/);
  const list = (await place.try(['anomaly', 'list'])).stdout.toString();
  assert.match(
    list,
    /host\/office +added 8\d\.\d MiB .* 2026-03-06T01:00:00Z 2026-03-05T01:00:00Z 2026-03-04T01:00:00Z/,
  );

  const cleared = await place.json<{ unprotected: string[] }>('anomaly', 'clear', 'host/office', '--attack');
  assert.deepEqual(cleared.unprotected, []);
  assert.equal(
    (await place.json<{ rule: string | null }[]>('prune', '--keep-last', '1')).filter(({ rule }) => rule === null)
      .length,
    3,
  );
  assert.deepEqual(
    await listed(place),
    [...NIGHTS.slice(3), AFTER].map((time) => `host/office/${time}`),
  );
  assert.equal((await place.try(['anomaly', 'clear', 'host/office'])).code, 4);
});

test('the limit is set for a datastore, in words that are checked', async (t) => {
  const { place, documents, backup } = await workingHost(t);
  for (const wrong of ['1.9', '-3', 'many', '1e3', '12345678'])
    assert.equal((await place.try(['datastore', 'set', `--anomaly-factor=${wrong}`])).code, 2, wrong);
  const set = async (factor: string) =>
    (await place.json<{ anomalyFactor: number | null }>('datastore', 'set', '--anomaly-factor', factor)).anomalyFactor;
  assert.equal(await set('default'), null);
  assert.equal(await set('2.5'), 2.5);
  assert.equal(await set('0'), 0);
  encryptAll(documents);
  assert.doesNotMatch(await backup(AFTER), /warning/);
});

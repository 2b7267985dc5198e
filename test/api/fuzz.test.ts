// Wrong calls of every method: a client's mistakes and an attacker's. Each is refused with a text, none is an error that nobody foresaw, and
// nothing is there afterwards that was not there before. The seed is printed; HOLDFAST_FUZZ_SECONDS goes on for longer.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import type { TObject } from 'typebox';
import type { AnyMethod } from '../../src/api/method.ts';
import { METHODS } from '../../src/api/routes/methods.ts';
import { commitImage, type OpenStore } from '../support/store.ts';
import { workFor } from '../support/work-time.ts';
import { ApiRig } from './rig.ts';

const SECONDS = Number(process.env.HOLDFAST_FUZZ_SECONDS ?? 4);
const SEED = Number(process.env.HOLDFAST_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
const rig = new ApiRig();
let open: OpenStore;
let time = 0;

before(async () => {
  open = await rig.store('store1');
  rig.access.grant('victim@pbs', {});
  ({
    name: { time },
  } = await commitImage(open, ['content'], 'vm/101', 'root@pam'));
});
after(() => rig.close());

/** Mulberry32: a small generator whose whole state is the seed. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = generator(SEED);
const pick = <Each>(all: readonly Each[]): Each => all[Math.floor(random() * all.length)] as Each;

/** None of them is a good value of any parameter but a free text. */
const HOSTILE: readonly unknown[] = [
  '../../../etc/passwd',
  '..',
  './x',
  '.hidden',
  '/etc/passwd',
  'a/../../b',
  'ns/../../packs',
  'a\0b',
  'a\nb',
  '\u202eevil',
  '%2e%2e%2f',
  '..%2f..%2f',
  '\\..\\..',
  'x'.repeat(2000),
  '\ud800',
  "'; DROP TABLE users; --",
  '$(reboot)',
  '__proto__',
  'constructor',
  '-1',
  '1e999',
  '99999999999999999999',
  'NaN',
  -1,
  1.5,
  2 ** 60,
  null,
  [],
  ['a', ['b']],
  {},
  [{}],
  '',
  ' ',
];

/** Good values, so that one wrong part is reached. */
function goodValue(name: string): unknown {
  const values: Record<string, unknown> = {
    store: 'store1',
    name: 'store1',
    userid: 'victim@pbs',
    'token-name': 'app',
    node: 'localhost',
    upid: 'UPID:node1:00004400:0006D549:00000001:6B00F22F:test:store1:root@pam:',
    session: 'ab'.repeat(16),
    'backup-type': 'vm',
    'backup-id': '101',
    'backup-time': time,
    id: 'recovery',
    filepath: 'root',
    'file-name': 'disk0.img',
    ns: '',
  };
  return values[name] ?? 'x';
}

interface Wrong {
  readonly method: string;
  readonly url: string;
  readonly payload: string | undefined;
  readonly contentType: string | undefined;
}

/** A call of which at least one part is wrong. */
function wrongCall(method: AnyMethod): Wrong {
  const names = Object.keys((method.parameters as TObject).properties);
  const inPath = names.filter((name) => method.path.includes(`{${name}}`));
  const bad = pick([...names, 'no-such-parameter', '__proto__']);
  const value = pick(HOSTILE);
  const url = method.path.replace(/\{([^}]+)\}/g, (_, name: string) =>
    encoded(name === bad ? String(value) : String(goodValue(name))),
  );
  const others = names.filter((name) => !inPath.includes(name) && name !== bad && random() < 0.5);
  const rest: [string, unknown][] = others.map((name) => [name, random() < 0.7 ? goodValue(name) : pick(HOSTILE)]);
  if (!inPath.includes(bad)) rest.push([bad, value]);
  const isInQuery = method.method === 'GET' || random() < 0.2;
  const form = new URLSearchParams(rest.map(([name, each]): [string, string] => [name, String(each)])).toString();
  if (isInQuery) return { method: method.method, url: `${url}?${form}`, payload: undefined, contentType: undefined };
  const json = JSON.stringify(Object.fromEntries(rest));
  const kind = random();
  if (kind < 0.5) return { method: method.method, url, payload: json, contentType: 'application/json' };
  if (kind < 0.8)
    return { method: method.method, url, payload: form, contentType: 'application/x-www-form-urlencoded' };
  const broken = pick([
    json.slice(0, -1),
    `[${json}]`,
    '"text"',
    'null',
    '\0\0',
    '{"a":'.repeat(500),
    'x'.repeat(600_000),
  ]);
  return {
    method: method.method,
    url,
    payload: broken,
    contentType: pick(['application/json', 'text/plain', 'multipart/form-data']),
  };
}

function encoded(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return '%ED%A0%80';
  }
}

test(`wrong calls of every method are refused in words (seed ${SEED})`, async () => {
  const root = open.store.layout.root;
  const around = (): unknown => [readdirSync(dirname(root)), readdirSync(root).filter((name) => !/\.json$/.test(name))];
  const before = around();
  const manifest = join(
    open.store.groups.groupPath('' as never, 'vm/101' as never),
    new Date(time * 1000).toISOString().replace('.000Z', 'Z'),
    'manifest.json',
  );
  const goesOn = workFor(SECONDS);
  const statuses = new Map<number, number>();
  for (let count = 0; goesOn() || count < METHODS.length * 3; count++) {
    const method = METHODS[count % METHODS.length] as AnyMethod;
    const wrong = wrongCall(method);
    // What could succeed with free texts would change the rig below the test.
    if (method.method !== 'GET' && isHarmful(method)) continue;
    const headers = {
      ...rig.headers('root@pam'),
      ...(wrong.contentType === undefined ? {} : { 'content-type': wrong.contentType }),
    };
    const format = pick(['json', 'json', 'extjs']);
    const response = await rig.app.inject({
      method: wrong.method as 'GET',
      url: `/api2/${format}${wrong.url}`,
      headers,
      ...(wrong.payload === undefined ? {} : { payload: wrong.payload }),
    });
    const shown = `seed ${SEED} count ${count}: ${wrong.method} ${wrong.url.slice(0, 300)} ${wrong.payload?.slice(0, 300)} -> ${response.statusCode} ${response.body.slice(0, 300)}`;
    assert.ok(response.statusCode < 500, shown);
    assert.ok(response.body.length > 0, shown);
    assert.deepEqual(rig.bugs, [], shown);
    assert.equal(/\n\s+at |node_modules|\/tmp\//.test(response.body.replaceAll(root, '')), false, shown);
    statuses.set(response.statusCode, (statuses.get(response.statusCode) ?? 0) + 1);
  }
  await rig.tasks.settle();
  assert.ok((statuses.get(400) ?? 0) > METHODS.length, JSON.stringify([...statuses]));
  assert.deepEqual(around(), before);
  assert.ok(existsSync(manifest));
  assert.equal(Object.hasOwn(Object.prototype, 'x'), false);
});

/** Calls that are good ones with a free text in a place where any text will do. */
function isHarmful({ method, path }: AnyMethod): boolean {
  return (
    (method === 'DELETE' && /\{name\}$|\/groups$|\/snapshots$/.test(path)) ||
    (method === 'POST' && path === '/config/datastore')
  );
}

test('a name that climbs out of its place is refused in each place that takes one', async () => {
  // What consists of dots alone, or of nothing, is no part of a path any more when it arrives here.
  const names = ['..', '.', '../store1', 'a/b', '..\\..', '.x', '', 'x\0', 'ä', 'a b', 'x'.repeat(200)];
  for (const method of METHODS) {
    const { properties } = method.parameters as TObject;
    for (const each of [
      'store',
      'name',
      'ns',
      'parent',
      'backup-id',
      'session',
      'token-name',
      'id',
      'node',
      'file-name',
      'archive-name',
    ]) {
      if (!(each in properties)) continue;
      for (const name of names) {
        if ((each === 'ns' || each === 'parent') && ['', 'a/b'].includes(name)) continue;
        if (method.path.includes(`{${each}}`) && /^\.{0,2}$/.test(name)) continue;
        const parameters: Record<string, unknown> = Object.fromEntries(
          ((method.parameters as TObject).required ?? [])
            .filter((other) => !('default' in (properties[other] as object)))
            .map((other) => [other, goodValue(other)]),
        );
        parameters[each] = name;
        const url = method.path.replace(/\{([^}]+)\}/g, (_, other: string) =>
          encodeURIComponent(String(parameters[other])),
        );
        const rest = Object.fromEntries(
          Object.entries(parameters).filter(([other]) => !method.path.includes(`{${other}}`)),
        );
        const { status, text } = await rig.call('root@pam', method.method, url, rest);
        assert.ok(
          status === 400 || status === 404,
          `${method.method} ${url} ${each}=${JSON.stringify(name)}: ${status} ${text}`,
        );
      }
    }
  }
  assert.deepEqual(rig.bugs, []);
});

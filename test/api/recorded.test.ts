// The answers of a real server, as they were recorded, against ours: status, content type, texts of refusals, and the type of every member.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { after, before, test } from 'node:test';
import { parseGroup, parseNamespace } from '../../src/schema/names.ts';
import { clientPart, NO_SIGNAL, type OpenStore, putWholeImage } from '../support/store.ts';
import { ApiRig } from './rig.ts';

type Shape = string | Shape[] | { [name: string]: Shape };

interface Recorded {
  readonly status: number;
  /** Empty when there was none. */
  readonly type: string;
  readonly text?: string;
  readonly answer?: Shape;
}
interface RecordedCall extends Recorded {
  readonly as: 'admin' | 'nobody' | 'someone' | 'token' | 'wrong-token' | 'no-csrf';
  readonly method: string;
  readonly path: string;
  readonly parameters: Record<string, unknown>;
}
interface RecordedWire extends Recorded {
  readonly case: string;
  /** `GET /path`. */
  readonly request: string;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly cookie?: 'expired';
}

const VECTORS = JSON.parse(readFileSync(new URL('../vectors/recorded-answers.json', import.meta.url), 'utf8')) as {
  calls: RecordedCall[];
  wire: RecordedWire[];
};
const PASSWORD = 'a-password-of-ours';
const ADMIN = 'admin@pbs';
const TOKEN = 'someone@pbs!app';
const JSON_TYPE = 'application/json;charset=UTF-8';

/** Members that the real one has and ours does not, with the reason. Clients take all of them for optional. */
const LEFT_OUT: readonly (readonly [RegExp, string])[] = [
  [/\.cache-stats$/, 'there is no such cache'],
  [/\.history(-delta|-start)?$/, 'no history of the space is kept'],
  [/^data\.url$/, 'there is no subscription to buy'],
];
/** Where ours says the same in other words; the real text stands in the vectors. */
const OTHER_WORDS: Readonly<Record<string, RegExp>> = {
  // What is not there has a name; clients look for the end.
  'ENOENT: No such file or directory': /^no such .*: No such file or directory$/,
  // A path of the server is nothing for clients.
  'failed to delete snapshot - removing backup snapshot "/PATH" failed - No such file or directory (os error 2)':
    /^failed to delete snapshot - .*No such file or directory$/,
  // Each parser of JSON has its own words.
  'EOF while parsing a value at line 1 column 15': /^the body is not JSON: /,
  // Ours says what a schedule may be.
  "parameter verification failed - 'schedule': unable to parse calendar event at 'every' - Context(\"weekday\")":
    /^parameter verification failed - 'schedule': schedule "every other blue moon": /,
  // In another order, and with what is wrong beside what is missing.
  "parameter verification failed:\n- 'backup-time': parameter is missing and it is not optional.\n- 'backup-id': parameter is missing and it is not optional.":
    /'backup-id': parameter is missing and it is not optional.\n- 'backup-time': parameter is missing/,
};

const rig = new ApiRig();
let open: OpenStore;
let upid = '';

before(async () => {
  open = await rig.store('store1');
  rig.access.grant(ADMIN, { '/': 'Admin' });
  rig.access.grant(`${ADMIN}!tok`, { '/': 'Admin' });
  rig.access.passwords.set(ADMIN as never, PASSWORD);
});
after(() => rig.close());

const ns = parseNamespace('');
const group = parseGroup('host/store1');

/** A snapshot of host/store1, by whoever owns the group. */
async function snapshot(time: number): Promise<void> {
  const owner = (await open.store.groups.state(ns, group))?.owner || ADMIN;
  const session = await open.store.openSession({ ns, group, owner, compressionLevel: 1 });
  const { root, sizeBytes } = await putWholeImage(open, session, [`content ${time}`]);
  await session.commit(clientPart(root, sizeBytes, group), time, NO_SIGNAL);
}

/** What was there before a call of the recording, and that its own calls did not make: by the method and path of the call. */
const BEFORE: Readonly<Record<string, () => Promise<unknown>>> = {
  'GET /status/datastore-usage': async () => {
    await rig.call(ADMIN, 'POST', '/admin/datastore/store1/gc');
    await rig.tasks.settle();
  },
  'GET /nodes/localhost/tasks': () => rig.tasks.settle(),
  'GET /admin/datastore/store1/files': async () => {
    if ((await open.store.groups.times(ns, group)).length > 0) return;
    for (const day of [0, 1, 2]) await snapshot(1_700_000_000 + day * 86_400);
  },
  'POST /admin/datastore/store1/change-owner': async () => {
    for (const time of await open.store.groups.times(ns, group))
      await open.store.updateSnapshot({ ns, group, time }, { protected: false }, true);
    for (const time of [1_700_500_000, 1_700_600_000]) await snapshot(time);
  },
  'POST /admin/datastore/store1/verify': async () => {
    if ((await open.store.groups.times(ns, group)).length === 0) await snapshot(1_700_700_000);
  },
  'POST /access/users/store1-monitor@pbs/token/mon': async () => rig.access.grant('store1-monitor@pbs', {}),
  'DELETE /access/users/someone@pbs': async () => {
    // Twice in the recording: the second time it is gone.
    if (isSomeoneDeleted) rig.access.users.delete('someone@pbs' as never);
    isSomeoneDeleted = true;
  },
};
let isSomeoneDeleted = false;

function credentials(as: RecordedCall['as']): Record<string, string> {
  if (as === 'nobody') return {};
  if (as === 'wrong-token') return { authorization: `PBSAPIToken=${ADMIN}!tok:wrong` };
  if (as === 'no-csrf') return { cookie: `PBSAuthCookie=${ADMIN}` };
  if (as === 'someone') return rig.headers('someone@pbs');
  if (as === 'admin') return rig.headers(ADMIN);
  if (!rig.access.tokens.has(TOKEN as never)) rig.access.grant(TOKEN, {});
  if (!rig.access.acl.some(({ authId }) => authId === TOKEN)) {
    rig.access.grant(TOKEN.split('!')[0] as string, { '/datastore/store1': 'DatastoreAudit' });
    rig.access.acl.push({ path: '/datastore/store1', role: 'DatastoreAudit', authId: TOKEN as never, propagate: true });
  }
  return rig.headers(TOKEN);
}

test('every recorded call answers as the real one did', async (t) => {
  for (const [number, recorded] of VECTORS.calls.entries()) {
    await t.test(`${number}: ${recorded.method} ${recorded.path} ${recorded.status}`, async () => {
      await BEFORE[`${recorded.method} ${recorded.path}`]?.();
      const path = recorded.path.replace('%UPID%', encodeURIComponent(upid));
      const parameters = JSON.parse(JSON.stringify(recorded.parameters).replaceAll('%PASSWORD%', PASSWORD)) as object;
      const response = await rig.call(
        undefined,
        recorded.method,
        path,
        { ...parameters },
        { headers: credentials(recorded.as) },
      );
      if (path.endsWith('/verify')) {
        upid = response.json.data as string;
        await rig.tasks.settle();
      }
      if (path.endsWith('/gc')) await rig.tasks.settle();
      compare(recorded, response);
    });
  }
  assert.deepEqual(rig.bugs, []);
});

test('what is left out or said otherwise is in the recording', () => {
  const recorded = [...VECTORS.calls, ...VECTORS.wire];
  const texts = recorded.map(({ text }) => text);
  assert.deepEqual(
    Object.keys(OTHER_WORDS).filter((each) => !texts.includes(each)),
    [],
  );
  const places = recorded.flatMap(({ answer }) => (answer === undefined ? [] : placesIn(answer, '')));
  assert.deepEqual(
    LEFT_OUT.filter(([pattern]) => !places.some((place) => pattern.test(place))),
    [],
  );
});

test('odd requests are answered as the real one did', async (t) => {
  await rig.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = rig.app.server.address() as { port: number };
  await rig.call(ADMIN, 'PUT', '/config/datastore/store1', { delete: 'maintenance-mode' });
  for (const day of [0, 1, 2]) await snapshot(1_800_000_000 + day * 86_400);
  const secret = rig.access.tokens.get(`${ADMIN}!tok` as never)?.secret as string;
  for (const recorded of VECTORS.wire) {
    await t.test(recorded.case, async () => {
      const fill = (text: string): string =>
        text.replaceAll('%TOKEN%', `${ADMIN}!tok`).replaceAll('%SECRET%', secret).replaceAll('%PASSWORD%', PASSWORD);
      const headers = Object.entries(recorded.headers).map(([name, value]) => `${name}: ${fill(value)}\r\n`);
      const body = fill(recorded.body);
      const length = body === '' ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`;
      const request = `${recorded.request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${headers.join('')}${length}\r\n${body}`;
      const answer = await exchange(port, request);
      compare(recorded, answer);
      assert.equal(
        /^set-cookie: __Host-PBSAuthCookie=; Expires=Thu, 01 Jan 1970/im.test(answer.head),
        recorded.cookie === 'expired',
      );
    });
  }
});

interface Ours {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

function compare(recorded: Recorded, { status, type, text }: Ours): void {
  assert.equal(status, recorded.status, text);
  // Two answers of the real one are labelled without a charset; ours never are.
  assert.equal(type, recorded.type === 'application/json' ? JSON_TYPE : recorded.type, text);
  if (recorded.text !== undefined) {
    const words = OTHER_WORDS[recorded.text];
    if (words === undefined) assert.equal(text, recorded.text);
    else assert.match(text, words);
    return;
  }
  const missing = missingFrom(recorded.answer as Shape, shapeOf(JSON.parse(text)), '');
  assert.deepEqual(missing, [], text.slice(0, 500));
}

function shapeOf(value: unknown): Shape {
  if (value === null) return 'null';
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (typeof value !== 'object') return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shapeOf(each)]));
}

function placesIn(shape: Shape, place: string): string[] {
  if (typeof shape === 'string') return [place];
  if (Array.isArray(shape)) return shape.flatMap((each) => placesIn(each, `${place}[]`));
  return Object.entries(shape).flatMap(([name, each]) => {
    const inside = place === '' ? name : `${place}.${name}`;
    return [inside, ...placesIn(each, inside)];
  });
}

/** The members that are missing or of another type, each with its place. */
function missingFrom(wanted: Shape, found: Shape | undefined, place: string): string[] {
  if (LEFT_OUT.some(([pattern]) => pattern.test(place))) return [];
  if (found === undefined) return [`${place} is missing`];
  if (typeof wanted === 'string')
    return wanted === found || wanted === 'null' ? [] : [`${place}: ${wanted}, not ${JSON.stringify(found)}`];
  if (Array.isArray(wanted)) {
    if (!Array.isArray(found)) return [`${place} is no list`];
    const [first] = wanted;
    return first === undefined || found[0] === undefined ? [] : missingFrom(first, found[0], `${place}[]`);
  }
  if (typeof found !== 'object' || Array.isArray(found)) return [`${place} is no object`];
  return Object.entries(wanted).flatMap(([name, each]) =>
    missingFrom(each, found[name], place === '' ? name : `${place}.${name}`),
  );
}

async function exchange(port: number, request: string): Promise<Ours & { head: string }> {
  const socket = createConnection({ host: '127.0.0.1', port });
  socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')));
  socket.write(request);
  let answer = '';
  for await (const part of socket) answer += String(part);
  const [head = '', ...rest] = answer.split('\r\n\r\n');
  const type = /^content-type: (.*)$/im.exec(head)?.[1]?.trim() ?? '';
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), type, text: rest.join('\r\n\r\n'), head };
}

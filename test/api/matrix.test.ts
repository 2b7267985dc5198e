// Who may do what: every method asked by everybody, against one datastore. What a caller gets is decided here by hand, not by the rules that
// the methods carry.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import type { TObject, TSchema } from 'typebox';
import type { AnyMethod } from '../../src/api/method.ts';
import { METHODS } from '../../src/api/routes/methods.ts';
import type { ObjectId } from '../../src/chunker/object.ts';
import { clientPart, commitImage, type OpenStore } from '../support/store.ts';
import { ApiRig } from './rig.ts';

const CALLERS = ['nobody', 'stranger', 'owner', 'other', 'token', 'auditor', 'admin'] as const;
type Caller = (typeof CALLERS)[number];
const AUTH_ID: Readonly<Record<Caller, string | undefined>> = {
  nobody: undefined,
  /** Signed in, without any right. */
  stranger: 'stranger@pbs',
  /** Backs up, and owns vm/101. */
  owner: 'owner@pbs',
  /** Backs up too, and owns nothing. */
  other: 'other@pbs',
  /** Of the owner, with a right to look, which its user has not: both together have none. */
  token: 'owner@pbs!look',
  auditor: 'auditor@pbs',
  admin: 'root@pam',
};

const rig = new ApiRig();
let open: OpenStore;
let time = 0;
let upid = '';

before(async () => {
  open = await rig.store('store1');
  for (const name of ['stranger@pbs', 'victim@pbs']) rig.access.grant(name, {});
  rig.access.grant('owner@pbs', { '/datastore/store1': 'DatastorePowerUser' });
  rig.access.grant('other@pbs', { '/datastore/store1': 'DatastorePowerUser' });
  rig.access.grant('owner@pbs!look', { '/datastore/store1': 'DatastoreAudit' });
  rig.access.grant('auditor@pbs', { '/': 'Audit' });
  rig.access.grant('victim@pbs!app', {});
  ({
    name: { time },
  } = await commitImage(open, ['content'], 'vm/101', 'owner@pbs'));
  ({ upid } = rig.tasks.start({ type: 'test', id: 'store1', authId: 'owner@pbs' }, async () => undefined));
  await rig.tasks.settle();
});
after(() => rig.close());

/** Callers that are let in, by what a method is about; the others get 401 or 403. */
const WORLD: readonly Caller[] = CALLERS;
const SIGNED_IN: readonly Caller[] = CALLERS.slice(1);
const SEES_STORE: readonly Caller[] = ['owner', 'other', 'auditor', 'admin'];
const ADMIN: readonly Caller[] = ['admin'];
const AUDIT: readonly Caller[] = ['auditor', 'admin'];
/** Owners prune and note their own; of others it is not there (400), which is no refusal of the right. */
const CONTENT: readonly Caller[] = ['owner', 'other', 'admin'];

const ALLOWED: Readonly<Record<string, readonly Caller[]>> = {
  'GET /ping': WORLD,
  'POST /access/ticket': WORLD,
  'DELETE /access/ticket': WORLD,
  'GET /access/domains': WORLD,
  'GET /version': SIGNED_IN,
  'GET /access/permissions': SIGNED_IN,
  'GET /access/users': SIGNED_IN,
  'POST /access/users': ADMIN,
  'GET /access/users/{userid}': AUDIT,
  'PUT /access/users/{userid}': ADMIN,
  'DELETE /access/users/{userid}': ADMIN,
  'GET /access/users/{userid}/token': AUDIT,
  'GET /access/users/{userid}/token/{token-name}': AUDIT,
  'POST /access/users/{userid}/token/{token-name}': ADMIN,
  'PUT /access/users/{userid}/token/{token-name}': ADMIN,
  'DELETE /access/users/{userid}/token/{token-name}': ADMIN,
  'GET /access/roles': SIGNED_IN,
  'GET /access/acl': SIGNED_IN,
  'PUT /access/acl': ADMIN,
  'PUT /access/password': ADMIN,
  'GET /access/audit': AUDIT,
  'GET /access/tfa': SIGNED_IN,
  'GET /access/tfa/{userid}': AUDIT,
  'GET /access/tfa/{userid}/{id}': AUDIT,
  'POST /access/tfa/{userid}': ADMIN,
  'PUT /access/tfa/{userid}/{id}': ADMIN,
  'DELETE /access/tfa/{userid}/{id}': ADMIN,
  'PUT /access/users/{userid}/unlock-tfa': ADMIN,
  'GET /admin/datastore': SIGNED_IN,
  'GET /admin/datastore/{store}/status': SEES_STORE,
  'GET /admin/datastore/{store}/active-operations': AUDIT,
  'GET /admin/datastore/{store}/groups': SEES_STORE,
  'DELETE /admin/datastore/{store}/groups': CONTENT,
  'GET /admin/datastore/{store}/group-notes': SEES_STORE,
  'PUT /admin/datastore/{store}/group-notes': CONTENT,
  'POST /admin/datastore/{store}/change-owner': CONTENT,
  'GET /admin/datastore/{store}/snapshots': SEES_STORE,
  'DELETE /admin/datastore/{store}/snapshots': CONTENT,
  'GET /admin/datastore/{store}/files': SEES_STORE,
  'GET /admin/datastore/{store}/catalog': CONTENT,
  'GET /admin/datastore/{store}/pxar-file-download': CONTENT,
  'GET /admin/datastore/{store}/download': CONTENT,
  'GET /admin/datastore/{store}/download-decoded': CONTENT,
  'POST /admin/datastore/{store}/upload-backup-log': CONTENT,
  'GET /admin/datastore/{store}/notes': SEES_STORE,
  'PUT /admin/datastore/{store}/notes': CONTENT,
  'GET /admin/datastore/{store}/protected': SEES_STORE,
  'PUT /admin/datastore/{store}/protected': CONTENT,
  'GET /admin/datastore/{store}/namespace': SEES_STORE,
  'POST /admin/datastore/{store}/namespace': ADMIN,
  'DELETE /admin/datastore/{store}/namespace': ADMIN,
  'POST /admin/datastore/{store}/prune': CONTENT,
  'POST /admin/datastore/{store}/prune-datastore': CONTENT,
  'GET /admin/datastore/{store}/gc': AUDIT,
  'POST /admin/datastore/{store}/gc': ADMIN,
  'GET /admin/gc': SIGNED_IN,
  'POST /admin/datastore/{store}/verify': CONTENT,
  'POST /admin/datastore/{store}/sessions': CONTENT,
  'GET /admin/datastore/{store}/sessions/{session}': CONTENT,
  'POST /admin/datastore/{store}/sessions/{session}/commit': CONTENT,
  'DELETE /admin/datastore/{store}/sessions/{session}': CONTENT,
  'GET /config/datastore': SIGNED_IN,
  'POST /config/datastore': ADMIN,
  'GET /config/datastore/{name}': AUDIT,
  'PUT /config/datastore/{name}': ADMIN,
  'DELETE /config/datastore/{name}': ADMIN,
  'GET /nodes': ADMIN,
  'GET /config/pool': SIGNED_IN,
  'POST /config/pool': ADMIN,
  'PUT /config/pool': ADMIN,
  'DELETE /config/pool': ADMIN,
  'GET /config/node': SIGNED_IN,
  'POST /config/node': ADMIN,
  'GET /config/node/{name}': AUDIT,
  'DELETE /config/node/{name}': ADMIN,
  'POST /nodes/{node}/enrolment': WORLD,
  // The agent's own token alone, which is none of the callers.
  'GET /nodes/{node}/control': [],
  'POST /nodes/{node}/backup': ADMIN,
  'POST /nodes/{node}/restore': ADMIN,
  'POST /nodes/{node}/vm-backup': ADMIN,
  'POST /nodes/{node}/vm-restore': ADMIN,
  'GET /nodes/{node}/status': AUDIT,
  'GET /nodes/{node}/subscription': SIGNED_IN,
  'GET /nodes/{node}/time': SIGNED_IN,
  'GET /nodes/{node}/identity': SIGNED_IN,
  'GET /nodes/{node}/tasks': SIGNED_IN,
  'GET /nodes/{node}/tasks/{upid}/status': ['owner', 'auditor', 'admin'],
  'GET /nodes/{node}/tasks/{upid}/log': ['owner', 'auditor', 'admin'],
  'DELETE /nodes/{node}/tasks/{upid}': ['owner', 'admin'],
  'GET /nodes/{node}/tasks/{upid}/result': ['owner', 'auditor', 'admin'],
  'GET /config/notifications/endpoints/smtp': AUDIT,
  'POST /config/notifications/endpoints/smtp': ADMIN,
  'GET /config/notifications/endpoints/smtp/{name}': AUDIT,
  'PUT /config/notifications/endpoints/smtp/{name}': ADMIN,
  'DELETE /config/notifications/endpoints/smtp/{name}': ADMIN,
  'GET /config/notifications/endpoints/webhook': AUDIT,
  'POST /config/notifications/endpoints/webhook': ADMIN,
  'GET /config/notifications/endpoints/webhook/{name}': AUDIT,
  'PUT /config/notifications/endpoints/webhook/{name}': ADMIN,
  'DELETE /config/notifications/endpoints/webhook/{name}': ADMIN,
  'GET /config/notifications/matchers': AUDIT,
  'POST /config/notifications/matchers': ADMIN,
  'GET /config/notifications/matchers/{name}': AUDIT,
  'PUT /config/notifications/matchers/{name}': ADMIN,
  'DELETE /config/notifications/matchers/{name}': ADMIN,
  'GET /config/notifications/targets': AUDIT,
  'GET /config/notifications/targets/{name}': AUDIT,
  'POST /config/notifications/targets/{name}/test': ADMIN,
  'GET /config/notifications/queue': AUDIT,
  'POST /config/notifications/check': ADMIN,
  'POST /config/notifications/digest': ADMIN,
  'GET /config/prune': SIGNED_IN,
  'POST /config/prune': ADMIN,
  'GET /config/prune/{id}': AUDIT,
  'PUT /config/prune/{id}': ADMIN,
  'DELETE /config/prune/{id}': ADMIN,
  'GET /admin/prune': SIGNED_IN,
  'POST /admin/prune/{id}/run': ADMIN,
  'GET /config/verify': SIGNED_IN,
  'POST /config/verify': ADMIN,
  'GET /config/verify/{id}': AUDIT,
  'PUT /config/verify/{id}': ADMIN,
  'DELETE /config/verify/{id}': ADMIN,
  'GET /admin/verify': SIGNED_IN,
  'POST /admin/verify/{id}/run': ADMIN,
  'GET /config/jobs': AUDIT,
  'POST /config/jobs': ADMIN,
  'GET /config/jobs/{kind}/{id}': AUDIT,
  'PUT /config/jobs/{kind}/{id}': ADMIN,
  'DELETE /config/jobs/{kind}/{id}': ADMIN,
  'POST /admin/jobs/{kind}/{id}/run': ADMIN,
  'GET /admin/jobs/history': AUDIT,
  'GET /status/datastore-usage': SIGNED_IN,
  'POST /admin/datastore/{store}/query/describe': SEES_STORE,
  'POST /admin/datastore/{store}/query/resolve': SEES_STORE,
  'POST /admin/datastore/{store}/query/find': SEES_STORE,
  'POST /admin/datastore/{store}/query/show': SEES_STORE,
  'POST /admin/datastore/{store}/query/list': SEES_STORE,
  'POST /admin/datastore/{store}/query/prune-plan': SEES_STORE,
  'POST /admin/datastore/{store}/query/anomalies': SEES_STORE,
  'POST /admin/datastore/{store}/operation/forget': CONTENT,
  'POST /admin/datastore/{store}/operation/change': CONTENT,
  'POST /admin/datastore/{store}/operation/lock': ADMIN,
  'POST /admin/datastore/{store}/operation/clear-anomaly': ADMIN,
  'POST /admin/datastore/{store}/operation/prune': CONTENT,
  'POST /admin/datastore/{store}/operation/verify': ADMIN,
  'POST /admin/datastore/{store}/operation/gc': ADMIN,
  'POST /admin/datastore/{store}/operation/account': ADMIN,
};
/** Allowed, and wrong for another reason. */
const FAILS_FOR_ADMIN: readonly string[] = [
  // The administrator is no agent.
  'GET /nodes/{node}/control',
  // No password; a user that is there.
  'POST /access/ticket',
  'POST /access/users',
  // A token and a datastore of that name are there.
  'POST /access/users/{userid}/token/{token-name}',
  'POST /config/datastore',
  // There is no file tree in the snapshot.
  'GET /admin/datastore/{store}/pxar-file-download',
  // The group is somebody else's; the fake refuses every commit.
  'POST /admin/datastore/{store}/sessions',
  'POST /admin/datastore/{store}/sessions/{session}/commit',
];

/** Good parameters of each method; those that change something change what the others do not look at. */
function parametersOf({ parameters, method, path }: AnyMethod): Record<string, unknown> {
  const { properties, required = [] } = parameters as TObject;
  const given: Record<string, unknown> = {
    store: 'store1',
    name: path.startsWith('/config/datastore') ? 'store1' : path.includes('/webhook') ? 'hook' : 'made',
    userid: 'victim@pbs',
    poolid: 'web',
    'token-name': 'app',
    node: 'localhost',
    upid,
    session: 'ab'.repeat(16),
    'backup-type': 'vm',
    'backup-id': '101',
    'backup-time': time,
    path: path === '/access/acl' ? '/datastore/store1' : '/nowhere',
    role: 'NoAccess',
    'auth-id': 'victim@pbs!app',
    id: path.startsWith('/access') ? 'recovery' : 'made',
    schedule: 'daily',
    type: 'recovery',
    kind: path.includes('/jobs') ? 'gc' : 'backup',
    options: { store: 'store1' },
    'new-owner': 'owner@pbs',
    ns: path.endsWith('/namespace') ? 'made' : '',
    notes: 'noted',
    protected: false,
    username: 'victim@pbs',
    password: 'some-password',
    client: clientPart(Buffer.alloc(32) as Uint8Array as ObjectId, 1),
    'dry-run': true,
    secret: 'one-time',
    'machine-id': 'ab'.repeat(32),
    server: 'mail.example',
    mailto: ['admin@mail.example'],
    'from-address': 'holdfast@mail.example',
    url: 'https://hooks.example/',
    vmid: 100,
    newid: 101,
    'host-name': 'web1.example',
    group: 'host/web1',
    archives: ['root.tree:/'],
    snapshot: 'vm/101/latest',
    archive: 'disk0.img',
    target: '/restored',
    'file-name': 'disk0.img',
    filepath: 'root',
    argument: argumentOf(path.split('/').at(-1) as string),
  };
  const names = Object.keys(properties).filter(
    (name) =>
      ((required as readonly string[]).includes(name) && !('default' in (properties[name] as object))) ||
      (name === 'dry-run' && name in properties) ||
      (name === 'auth-id' && method === 'PUT'),
  );
  return Object.fromEntries(names.map((name) => [name, given[name]]));
}

/** Of a question or an operation. */
function argumentOf(name: string): object {
  const snapshot = { ns: '', group: 'vm/101', time };
  const arguments_: Record<string, object> = {
    describe: {},
    list: { ns: '', group: null },
    'prune-plan': { ns: '', groups: ['vm/101'], counts: { 'keep-last': 1 } },
    change: { name: snapshot, change: { notes: 'noted' } },
    lock: { name: snapshot, forMs: 1 },
    anomalies: { ns: '' },
    'clear-anomaly': { ns: '', group: 'vm/101', wasAttack: false },
    prune: { ns: '', groups: [{ group: 'vm/101', times: [] }] },
    verify: { snapshot: null, provedSinceMs: 0, rateLimitBytes: null },
    gc: { dryRun: true, audit: false, rateLimitBytes: null },
    account: {},
  };
  return arguments_[name] ?? snapshot;
}

/** Removals last, the datastore's own as the very last. */
const rankOf = ({ method, path }: AnyMethod): number =>
  path.startsWith('/config') && method === 'DELETE' ? 2 : Number(method === 'DELETE' || path.endsWith('/forget'));
const ORDER = [...METHODS].sort((a, b) => rankOf(a) - rankOf(b));

/** What methods before removed. */
async function restore(): Promise<void> {
  rig.access.grant('victim@pbs', {});
  if (!rig.access.tokens.has('victim@pbs!app' as never)) rig.access.grant('victim@pbs!app', {});
  if (rig.access.listTfa({ authId: 'root@pam' as never, address: '' }).length === 0)
    await rig.access.addRecovery({ authId: 'root@pam' as never, address: '' }, 'victim@pbs' as never);
  await rig.tasks.settle();
  const { groups } = open.store;
  if ((await groups.times('' as never, 'vm/101' as never)).length === 0)
    ({
      name: { time },
    } = await commitImage(open, ['content'], 'vm/101', 'owner@pbs'));
  const state = await groups.state('' as never, 'vm/101' as never);
  if (state !== undefined && state.anomaly === undefined)
    await groups.writeState('' as never, 'vm/101' as never, { ...state, anomaly: ANOMALY });
}

/** So that there is something to settle, which whoever has no right to must not. */
const ANOMALY = {
  ...{ time: 1, added: { bytesNew: 2, bytesStored: 2 }, usual: { bytesNew: 1, ratio: 1 } },
  ...{ score: 20, protected: [] },
};

test('the table names every method', () => {
  assert.deepEqual(METHODS.map(({ method, path }) => `${method} ${path}`).sort(), Object.keys(ALLOWED).sort());
  const schemas = METHODS.flatMap(({ parameters }) => Object.values((parameters as TObject).properties) as TSchema[]);
  assert.ok(schemas.length > 100);
});

test('rights that go take effect at once, also those of a token through its user', async () => {
  rig.access.grant('late@pbs', { '/datastore/store1': 'DatastoreAdmin' });
  rig.access.grant('late@pbs!all', { '/datastore/store1': 'DatastoreAdmin' });
  const ask = async (who: string) => (await rig.call(who, 'GET', '/admin/datastore/store1/snapshots')).status;
  assert.deepEqual([await ask('late@pbs'), await ask('late@pbs!all')], [200, 200]);
  rig.access.acl = rig.access.acl.filter(({ authId }) => authId !== 'late@pbs');
  assert.deepEqual([await ask('late@pbs'), await ask('late@pbs!all')], [403, 403]);
});

test('each method lets in whom it should, refuses all others alike, and changes nothing for them', async (t) => {
  for (const method of ORDER) {
    const name = `${method.method} ${method.path}`;
    await t.test(name, async () => {
      await restore();
      const parameters = parametersOf(method);
      const url = method.path.replace(/\{([^}]+)\}/g, (_, each: string) =>
        encodeURIComponent(String(parameters[each])),
      );
      const rest = Object.fromEntries(
        Object.entries(parameters).filter(([each]) => !method.path.includes(`{${each}}`)),
      );
      // Those who may not come first, and then whoever surely succeeds.
      const isIn = (caller: Caller): boolean => ALLOWED[name]?.includes(caller) ?? false;
      const callers = [...CALLERS].reverse().sort((a, b) => Number(isIn(a)) - Number(isIn(b)));
      for (const caller of callers) {
        const isAllowed = isIn(caller);
        const before = isAllowed ? undefined : await state();
        const ask = method.takesBytes ? rig.upload.bind(rig, 'log') : rig.call.bind(rig);
        const { status, text } = await ask(AUTH_ID[caller], method.method, url, rest);
        const place = `${caller}: ${status} ${text.slice(0, 200)}`;
        if (isAllowed) assert.ok(status === 200 || status === 400, place);
        else assert.equal(status, caller === 'nobody' ? 401 : 403, place);
        if (caller === 'admin' && !FAILS_FOR_ADMIN.includes(name)) assert.equal(status, 200, place);
        if (isAllowed) continue;
        assert.match(text, caller === 'nobody' ? /^authentication failed$/ : /^permission check failed/);
        assert.deepEqual(await state(), before, `${caller} changed something`);
      }
    });
  }
  assert.deepEqual(rig.bugs, []);
});

/** Everything that a call without the right could have changed. */
async function state(): Promise<unknown> {
  const { users, tokens, acl, factors } = rig.access;
  const namespaces = await open.store.groups.namespaces();
  const groups = await open.store.groups.groups(namespaces[0] as never);
  const owners = await Promise.all(groups.map((group) => open.store.groups.state(namespaces[0] as never, group)));
  const times = await Promise.all(groups.map((group) => open.store.groups.times(namespaces[0] as never, group)));
  const logs = groups.flatMap((group, place) =>
    (times[place] as number[]).map((each) =>
      existsSync(open.store.groups.clientLogPath({ ns: namespaces[0] as never, group, time: each })),
    ),
  );
  return structuredClone({
    users: [...users],
    tokens: [...tokens],
    acl,
    factors: [...factors],
    namespaces,
    groups,
    owners,
    times,
    logs,
    tasks: rig.tasks.entries.size,
    stores: rig.datastores.list(),
    sessions: rig.sessions.asked.length,
    nodes: rig.nodes.asked.length,
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AccountState, Permissions } from '../../src/auth/permissions.ts';
import {
  BACKUP_PRIVILEGES,
  BACKUP_ROLES,
  GUEST_PRIVILEGES,
  GUEST_ROLES,
  PRIVILEGES,
  type Privilege,
  privilegesOf,
  ROLES,
  type RoleName,
} from '../../src/auth/privileges.ts';
import { type AuthId, parseAuthId, ROOT_USER } from '../../src/schema/auth-id.ts';
import { NOON_MS, withCode } from './access-fixture.ts';
import { type Entries, ListedRights, permissionsOver, TOKEN, USER } from './listed-rights.ts';

/** What the manual says, word by word: from the root down, each place that has something to say replaces what came from above. */
function obviousRights(entries: Entries, authId: AuthId, path: string): Map<Privilege, boolean> {
  const parts = path.split('/').filter(Boolean);
  let current = new Map<Privilege, boolean>();
  for (let depth = 0; depth <= parts.length; depth++) {
    const at = `/${parts.slice(0, depth).join('/')}`;
    const isEnd = depth === parts.length;
    const counting = entries.filter(
      (entry) => entry.authId === authId && entry.path === at && (isEnd || entry.propagate),
    );
    if (counting.length === 0) continue;
    current = new Map();
    if (counting.some(({ role }) => role === 'NoAccess')) continue;
    for (const privilege of PRIVILEGES) {
      const giving = counting.filter(({ role }) => privilegesOf(role).includes(privilege));
      if (giving.length > 0)
        current.set(
          privilege,
          giving.some(({ propagate }) => propagate),
        );
    }
  }
  return current;
}

function obviousRightsOf(entries: Entries, authId: AuthId, path: string): Map<Privilege, boolean> {
  if (authId !== TOKEN) return obviousRights(entries, authId, path);
  const [own, user] = [obviousRights(entries, TOKEN, path), obviousRights(entries, USER, path)];
  const both = new Map<Privilege, boolean>();
  for (const privilege of PRIVILEGES)
    if (own.has(privilege) && user.has(privilege))
      both.set(privilege, own.get(privilege) === true && user.get(privilege) === true);
  return both;
}

const path = fc
  .array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 3 })
  .map((parts) => `/${['datastore', ...parts].join('/')}`);
const anyPath = fc.oneof({ weight: 1, arbitrary: fc.constant('/') }, { weight: 6, arbitrary: path });
const entries = fc.uniqueArray(
  fc.record({
    path: anyPath,
    role: fc.constantFrom(...(Object.keys(ROLES) as RoleName[]), 'NoAccess', 'Admin', 'DatastoreBackup'),
    propagate: fc.boolean(),
    authId: fc.constantFrom<AuthId>(USER, TOKEN),
  }),
  { maxLength: 12, selector: ({ path, role, authId }) => `${path} ${role} ${authId}` },
);
const sorted = (rights: ReadonlyMap<Privilege, boolean>) => [...rights].sort();

test('rights are those of the slow and obvious way', () => {
  let some = 0;
  fc.assert(
    fc.property(entries, anyPath, fc.constantFrom<AuthId>(USER, TOKEN), (list, at, authId) => {
      const found = permissionsOver(list).permissions.of(authId, at);
      assert.deepEqual(sorted(found), sorted(obviousRightsOf(list, authId, at)));
      if (found.size > 0) some++;
    }),
    { numRuns: 2000 },
  );
  assert.ok(some > 200, `${some} had any rights`);
});

test('a token never may what its user may not', () => {
  fc.assert(
    fc.property(entries, anyPath, (list, at) => {
      const { permissions } = permissionsOver(list);
      const ofUser = permissions.of(USER, at);
      for (const [privilege, propagate] of permissions.of(TOKEN, at)) {
        assert.ok(ofUser.has(privilege));
        assert.ok(!propagate || ofUser.get(privilege));
      }
    }),
    { numRuns: 2000 },
  );
});

test('hasBelow says whether any path at or below has it, also one that no entry names', () => {
  const seen = new Set<boolean>();
  fc.assert(
    fc.property(
      entries,
      fc.constantFrom('/datastore', '/datastore/a'),
      fc.constantFrom<AuthId>(USER, TOKEN),
      (list, at, authId) => {
        // Every path of the generator's alphabet, and a stranger at each level.
        const names = ['a', 'b', 'ab', 'stranger'];
        const grow = (paths: string[]): string[] => paths.flatMap((each) => names.map((name) => `${each}/${name}`));
        const levels: string[][] = [[at]];
        for (let depth = 0; depth < 4; depth++) levels.push(grow(levels[depth]));
        const all = levels.flat();
        const isThere = all.some((each) => obviousRightsOf(list, authId, each).has('Datastore.Backup'));
        assert.equal(permissionsOver(list).permissions.hasBelow(authId, at, 'Datastore.Backup'), isThere);
        seen.add(isThere);
      },
    ),
    { numRuns: 300 },
  );
  assert.equal(seen.size, 2);
});

test('a right that its own path hides comes back below it', () => {
  const { permissions } = permissionsOver([
    { path: '/datastore', role: 'Admin', propagate: true, authId: USER },
    { path: '/datastore/a', role: 'DatastoreAudit', propagate: false, authId: USER },
  ]);
  assert.ok(!permissions.has(USER, '/datastore/a', 'Datastore.Backup'));
  assert.ok(permissions.has(USER, '/datastore/a/office', 'Datastore.Backup'));
  assert.ok(permissions.hasBelow(USER, '/datastore/a', 'Datastore.Backup'));
});

test('NoAccess takes away what came from above and what stands beside it', () => {
  const at = (path: string, role: RoleName, propagate = true) => ({ path, role, propagate, authId: USER as AuthId });
  const { permissions } = permissionsOver([
    at('/', 'Admin'),
    at('/datastore/a', 'NoAccess'),
    at('/datastore/a', 'DatastoreAdmin'),
    at('/datastore/a/open', 'DatastoreReader'),
  ]);
  assert.ok(permissions.has(USER, '/datastore/b', 'Datastore.Backup'));
  assert.equal(permissions.of(USER, '/datastore/a').size, 0);
  assert.equal(permissions.of(USER, '/datastore/a/shut').size, 0);
  assert.ok(permissions.has(USER, '/datastore/a/open', 'Datastore.Read'));
  assert.ok(!permissions.has(USER, '/datastore/a/open', 'Datastore.Backup'));
});

test('root may do everything, and its tokens what they were given', () => {
  const token = parseAuthId('root@pam!ci');
  const { permissions } = permissionsOver([
    { path: '/datastore/a', role: 'DatastoreBackup', propagate: false, authId: token },
    { path: '/', role: 'NoAccess', propagate: true, authId: ROOT_USER },
  ]);
  assert.equal(permissions.of(ROOT_USER, '/anything/at/all').size, PRIVILEGES.length);
  assert.deepEqual([...permissions.of(token, '/datastore/a')], [['Datastore.Backup', false]]);
  assert.equal(permissions.of(token, '/datastore/b').size, 0);
});

test('who is disabled, expired or unknown may do nothing, and neither may their tokens', () => {
  const admin = { path: '/', role: 'Admin', propagate: true } as const;
  const { permissions, source } = permissionsOver([
    { ...admin, authId: USER },
    { ...admin, authId: TOKEN },
  ]);
  const shut: (AccountState | undefined)[] = [
    undefined,
    { enable: false, expire: 0 },
    { enable: true, expire: NOON_MS / 1000 },
  ];
  for (const state of shut) {
    source.user = state;
    source.changes++;
    assert.equal(permissions.of(USER, '/').size, 0);
    assert.equal(permissions.of(TOKEN, '/').size, 0);
    assert.ok(!permissions.hasBelow(TOKEN, '/', 'Sys.Audit'));
  }
  source.user = { enable: true, expire: NOON_MS / 1000 + 1 };
  for (const state of shut) {
    source.token = state;
    source.changes++;
    assert.equal(permissions.of(USER, '/').size, PRIVILEGES.length);
    assert.equal(permissions.of(TOKEN, '/').size, 0);
  }
});

test('an account expires while its rights are kept', () => {
  const source = new ListedRights();
  source.entries = [{ path: '/', role: 'Admin', propagate: true, authId: USER }];
  source.user = { enable: true, expire: NOON_MS / 1000 + 10 };
  let nowMs = NOON_MS;
  const permissions = new Permissions(source, () => nowMs);
  assert.ok(permissions.has(USER, '/', 'Sys.Audit'));
  nowMs += 10_000;
  assert.ok(!permissions.has(USER, '/', 'Sys.Audit'));
  assert.equal(source.reads, 1);
});

test('rights are read once, and again after a change', () => {
  const { permissions, source } = permissionsOver([]);
  for (let round = 0; round < 100; round++) assert.ok(!permissions.has(USER, '/datastore/a', 'Datastore.Backup'));
  assert.equal(source.reads, 1);
  source.entries = [{ path: '/datastore', role: 'DatastoreBackup', propagate: true, authId: USER }];
  source.changes++;
  assert.ok(permissions.has(USER, '/datastore/a', 'Datastore.Backup'));
  assert.equal(source.reads, 2);
});

test('require names what was missing in its data, and takes any of several', () => {
  const { permissions } = permissionsOver([
    { path: '/datastore/a', role: 'DatastoreBackup', propagate: true, authId: USER },
  ]);
  permissions.require(USER, '/datastore/a', 'Datastore.Modify', 'Datastore.Backup');
  assert.throws(
    () => permissions.require(USER, '/datastore/b', 'Datastore.Modify', 'Datastore.Backup'),
    (error: unknown) => {
      assert.ok(withCode('permission-denied', /^permission check failed$/)(error));
      assert.deepEqual((error as { data: unknown }).data, {
        authId: USER,
        path: '/datastore/b',
        privileges: ['Datastore.Modify', 'Datastore.Backup'],
      });
      return true;
    },
  );
});

test('roles are those of Proxmox Backup Server', () => {
  assert.equal(BACKUP_PRIVILEGES.length, 23);
  assert.equal(Object.keys(BACKUP_ROLES).length, 18);
  assert.deepEqual(privilegesOf('Admin'), PRIVILEGES);
  assert.deepEqual(privilegesOf('NoAccess'), []);
  assert.deepEqual(privilegesOf('Audit'), ['Sys.Audit', 'Datastore.Audit']);
  for (const role of Object.keys(ROLES) as RoleName[]) {
    assert.equal(new Set(privilegesOf(role)).size, privilegesOf(role).length);
    if (role.startsWith('Datastore')) assert.ok(privilegesOf(role).every((each) => each.startsWith('Datastore.')));
  }
});

test('and those of Proxmox VE', () => {
  assert.equal(GUEST_PRIVILEGES.length, 47);
  assert.equal(new Set(GUEST_PRIVILEGES).size, 47);
  assert.equal(Object.keys(GUEST_ROLES).length, 17);
  const mayNot = GUEST_PRIVILEGES.filter((each) => !privilegesOf('PVEAdmin').includes(each));
  assert.deepEqual(mayNot.sort(), [
    'Mapping.Modify',
    'Permissions.Modify',
    'Realm.Allocate',
    'Sys.AccessNetwork',
    'Sys.Incoming',
    'Sys.Modify',
    'Sys.PowerMgmt',
  ]);
  assert.ok(privilegesOf('PVEVMAdmin').every((each) => each.startsWith('VM.')));
  assert.equal(privilegesOf('PVEVMAdmin').length, GUEST_PRIVILEGES.filter((each) => each.startsWith('VM.')).length);
  assert.deepEqual(
    privilegesOf('PVEAuditor').filter((each) => !each.endsWith('.Audit')),
    [],
  );
});

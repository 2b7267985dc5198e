// Rights on what is in a pool: what a role on the pool adds at exactly its members, and what takes it away again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PRIVILEGES, type Privilege, privilegesOf, type RoleName } from '../../src/auth/privileges.ts';
import { type AuthId, parseAuthId, ROOT_USER } from '../../src/schema/auth-id.ts';
import { addUser, openFixture, ROOT } from './access-fixture.ts';
import { type Entries, permissionsOver, TOKEN, USER } from './listed-rights.ts';

/** Role -> whether it propagates, from the root down: each place that says something replaces what came from above. */
function rolesAt(entries: Entries, authId: AuthId, path: string): Map<RoleName, boolean> {
  const parts = path.split('/').filter(Boolean);
  let roles = new Map<RoleName, boolean>();
  for (let depth = 0; depth <= parts.length; depth++) {
    const at = `/${parts.slice(0, depth).join('/')}`;
    const here = entries.filter((each) => each.authId === authId && each.path === at);
    const counting = here.filter(({ propagate }) => propagate || depth === parts.length);
    if (counting.length > 0) roles = new Map(counting.map(({ role, propagate }) => [role, propagate]));
  }
  return roles.has('NoAccess') ? new Map([['NoAccess', false]]) : roles;
}

/** As Proxmox VE's documentation has it, with sets of roles. */
function obvious(entries: Entries, pools: Pools, authId: AuthId, path: string): Map<Privilege, boolean> {
  const roles = rolesAt(entries, authId, path);
  const ofPools = (pools[path] ?? []).map((pool) => rolesAt(entries, authId, pool));
  if (ofPools.some((each) => each.has('NoAccess'))) return new Map();
  if (roles.has('NoAccess')) return new Map();
  for (const each of ofPools) for (const role of each.keys()) if (!roles.has(role)) roles.set(role, false);
  const rights = new Map<Privilege, boolean>();
  for (const [role, propagate] of roles)
    for (const privilege of privilegesOf(role)) rights.set(privilege, propagate || rights.get(privilege) === true);
  return rights;
}

function obviousOf(entries: Entries, pools: Pools, authId: AuthId, path: string): Map<Privilege, boolean> {
  const own = obvious(entries, pools, authId, path);
  if (authId !== TOKEN) return own;
  const user = obvious(entries, pools, USER, path);
  return new Map(
    PRIVILEGES.filter((each) => own.has(each) && user.has(each)).map((each) => [
      each,
      own.get(each) === true && user.get(each) === true,
    ]),
  );
}

type Pools = Readonly<Record<string, readonly string[]>>;
const PATHS = ['/', '/vms', '/vms/100', '/vms/101', '/storage', '/storage/tank', '/pool', '/pool/a', '/pool/a/b'];
const MEMBERS = ['/vms/100', '/vms/101', '/storage/tank'];
const pool = fc.constantFrom('/pool/a', '/pool/a/b', '/pool/c');
const pools = fc.record({
  '/vms/100': fc.oneof(fc.constant([]), fc.tuple(pool)),
  '/vms/101': fc.oneof(fc.constant([]), fc.tuple(pool)),
  '/storage/tank': fc.uniqueArray(pool, { maxLength: 3 }),
});
const entries = fc.uniqueArray(
  fc.record({
    path: fc.constantFrom(...PATHS),
    role: fc.constantFrom<RoleName>('NoAccess', 'PVEVMAdmin', 'PVEVMUser', 'PVEPoolUser', 'PVEDatastoreUser', 'Admin'),
    propagate: fc.boolean(),
    authId: fc.constantFrom<AuthId>(USER, TOKEN),
  }),
  { maxLength: 10, selector: ({ path, role, authId }) => `${path} ${role} ${authId}` },
);
const caller = fc.constantFrom<AuthId>(USER, TOKEN);

test('rights on members of pools are those of the slow and obvious way', () => {
  let byPool = 0;
  fc.assert(
    fc.property(entries, pools, fc.constantFrom(...PATHS, '/vms/102', '/vms/100/x'), caller, (list, held, at, who) => {
      const found = permissionsOver(list, held).permissions.of(who, at);
      assert.deepEqual([...found].sort(), [...obviousOf(list, held, who, at)].sort());
      const without = permissionsOver(list).permissions.of(who, at);
      if (found.size > without.size) byPool++;
    }),
    { numRuns: 5000 },
  );
  assert.ok(byPool > 100, `${byPool} had more by a pool`);
});

test('hasBelow sees what only a pool gives, and pathsOf names it', () => {
  const seen = new Set<boolean>();
  fc.assert(
    fc.property(entries, pools, fc.constantFrom('/', '/vms', '/storage', '/vms/100'), caller, (list, held, at, who) => {
      const { permissions } = permissionsOver(list, held);
      const strangers = [at, ...MEMBERS].map((each) => `${each}/x`);
      const below = [at, ...MEMBERS, '/vms/777', '/storage/other', ...strangers].filter(
        (each) => at === '/' || each === at || each.startsWith(`${at}/`),
      );
      const isThere = below.some((each) => obviousOf(list, held, who, each).has('VM.Audit'));
      // Below `/` are other branches, which give it where `/` does.
      if (at !== '/') assert.equal(permissions.hasBelow(who, at, 'VM.Audit'), isThere);
      else if (isThere) assert.ok(permissions.hasBelow(who, at, 'VM.Audit'));
      seen.add(isThere);
      const named = permissions.pathsOf(who);
      for (const each of MEMBERS) {
        const gained = obviousOf(list, held, who, each).size > obviousOf(list, {}, who, each).size;
        if (gained) assert.ok(named.includes(each), each);
      }
    }),
    { numRuns: 1000 },
  );
  assert.equal(seen.size, 2);
});

const at = (path: string, role: RoleName, authId: AuthId = USER, propagate = true) => ({
  path,
  role,
  propagate,
  authId,
});
const IN_WEB = { '/vms/100': ['/pool/web'], '/storage/tank': ['/pool/web', '/pool/lab'] };

test('a role on a pool is one on its guests and storages, and nowhere else, and does not go down', () => {
  const { permissions } = permissionsOver([at('/pool/web', 'PVEVMAdmin'), at('/pool/web', 'PVEDatastoreUser')], IN_WEB);
  assert.equal(permissions.of(USER, '/vms/100').get('VM.Allocate'), false);
  assert.equal(permissions.of(USER, '/storage/tank').get('Datastore.AllocateSpace'), false);
  for (const path of ['/', '/vms', '/vms/101', '/vms/100/x', '/storage', '/storage/tanks', '/storage/tank/x'])
    assert.equal(permissions.of(USER, path).size, 0, path);
  assert.equal(permissions.has(USER, '//vms//100/', 'VM.Allocate'), true, 'however the path is written');
  assert.equal(permissions.of(USER, '/pool/web').get('VM.Allocate'), true);
});

test('NoAccess at the guest or at one of its pools takes all away', () => {
  const give = at('/pool/web', 'PVEVMAdmin');
  const cases: readonly (readonly [string, Entries])[] = [
    ['at the guest', [give, at('/vms/100', 'NoAccess')]],
    ['from above the guest', [give, at('/vms', 'NoAccess')]],
    ['at the pool', [at('/vms/100', 'PVEVMAdmin'), at('/pool/web', 'NoAccess')]],
    ['from above the pool', [at('/vms/100', 'PVEVMAdmin'), at('/pool', 'NoAccess')]],
    ['beside the role', [give, at('/pool/web', 'NoAccess')]],
  ];
  for (const [name, list] of cases)
    assert.equal(permissionsOver(list, IN_WEB).permissions.of(USER, '/vms/100').size, 0, name);
  const storage = [at('/pool/web', 'PVEDatastoreUser'), at('/pool/lab', 'NoAccess')];
  assert.equal(permissionsOver(storage, IN_WEB).permissions.of(USER, '/storage/tank').size, 0, 'of two pools');
  const below = [at('/vms', 'NoAccess', USER, false), give];
  assert.ok(permissionsOver(below, IN_WEB).permissions.has(USER, '/vms/100', 'VM.Audit'), 'one that stays above');
});

test('a token has by a pool what its user has there too, by whatever way', () => {
  const list = [at('/pool/web', 'PVEVMUser'), at('/pool/web', 'PVEVMAdmin', TOKEN)];
  const { permissions } = permissionsOver(list, IN_WEB);
  assert.ok(permissions.has(TOKEN, '/vms/100', 'VM.PowerMgmt'));
  assert.ok(!permissions.has(TOKEN, '/vms/100', 'VM.Allocate'));
  assert.equal(permissionsOver(list.slice(0, 1), IN_WEB).permissions.of(TOKEN, '/vms/100').size, 0);
  const direct = permissionsOver([at('/vms/100', 'PVEVMUser'), at('/pool/web', 'PVEVMAdmin', TOKEN)], IN_WEB);
  assert.deepEqual(
    [...direct.permissions.of(TOKEN, '/vms/100').keys()].sort(),
    [...privilegesOf('PVEVMUser')].sort(),
    'of the user at the guest, of the token at the pool',
  );
  const roots = parseAuthId('root@pam!ci');
  const ofRoot = permissionsOver([at('/pool/web', 'PVEVMUser', roots), at('/pool', 'NoAccess', ROOT_USER)], IN_WEB);
  assert.ok(ofRoot.permissions.has(roots, '/vms/100', 'VM.Console'));
  assert.ok(!ofRoot.permissions.has(roots, '/vms/100', 'VM.Allocate'));
  assert.equal(ofRoot.permissions.of(ROOT_USER, '/vms/100').size, PRIVILEGES.length);
});

test('a change of members counts at once, whichever process made it; rights of members are shown by path', async (t) => {
  const fixture = await openFixture(t);
  const { access, permissions, pools, state } = fixture;
  const anna = await addUser(fixture, 'anna');
  pools.create(ROOT, 'web');
  access.changeAcl(ROOT, { path: '/pool/web', role: 'PVEVMUser', authId: anna });
  const sees = (vmid: number): boolean => permissions.has(anna, `/vms/${vmid}`, 'VM.Audit');
  assert.ok(!sees(100));
  pools.change(ROOT, 'web', { vms: [100] });
  assert.ok(sees(100));
  pools.change(ROOT, 'web', { vms: [100], delete: true });
  assert.ok(!sees(100));
  const { StateDatabase } = await import('../../src/state/state-database.ts');
  const { authTables } = await import('../../src/state/auth-tables.ts');
  const other = StateDatabase.open(state.path);
  t.after(() => other.close());
  authTables(other).pools.putGuest('web' as never, 101);
  assert.ok(sees(101));
  const shown = access.permissionsOf({ authId: anna, address: '' });
  assert.deepEqual([...shown.keys()].sort(), ['/pool/web', '/vms/101']);
  assert.equal(shown.get('/vms/101')?.get('VM.Console'), false);
  authTables(other).pools.takeGuest(101);
  assert.ok(!sees(101));
});

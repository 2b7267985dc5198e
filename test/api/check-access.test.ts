// When rights are looked at, as the real server does: on what the path names before anything else of the call, on what parameters name after
// those were read.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiRig } from './rig.ts';

const rig = new ApiRig();
const STRANGER = 'stranger@pbs';

before(async () => {
  await rig.store('store1');
  rig.access.grant(STRANGER, {});
});
after(() => rig.close());

test('who has no right to what the path names hears nothing of parameters', async () => {
  for (const [method, path, parameters] of [
    ['POST', '/access/users', { userid: 'no user id', foo: 1 }],
    ['PUT', '/access/users/victim@pbs', { expire: 'soon' }],
    ['POST', '/config/datastore', {}],
    ['DELETE', '/config/datastore/store1', { digest: 'x' }],
    ['GET', '/admin/datastore/store1/status', { verbose: 'maybe' }],
    ['GET', '/admin/datastore/x/status', {}],
    ['GET', '/admin/datastore/store1%2Fns/status', {}],
  ] as const) {
    const refused = await rig.call(STRANGER, method, path, parameters);
    assert.deepEqual([refused.status, refused.text], [403, 'permission check failed'], path);
    const heard = await rig.call('root@pam', method, path, parameters);
    assert.deepEqual([heard.status, /^parameter verification failed/.test(heard.text)], [400, true], heard.text);
  }
});

test('a body that nobody may send is not read', async () => {
  const large = { payload: 'x'.repeat(600_000), headers: { 'content-type': 'text/plain' } };
  assert.equal((await rig.call(STRANGER, 'POST', '/access/users', {}, large)).status, 403);
  const allowed = await rig.call('root@pam', 'POST', '/access/users', {}, large);
  assert.deepEqual([allowed.status, allowed.text], [400, 'Request body too large']);
});

test('where parameters say what is asked for, they are read first, and the refusal says what is missing', async () => {
  const path = '/admin/datastore/store1/namespace';
  assert.match((await rig.call(STRANGER, 'POST', path)).text, /^parameter verification failed - 'name'/);
  const refused = await rig.call(STRANGER, 'POST', path, { name: 'x', parent: 'a' });
  assert.deepEqual(
    [refused.status, refused.text],
    [403, 'permission check failed - missing Datastore.Modify on /datastore/store1/a'],
  );
});

test('nothing of all this was an error that nobody foresaw', () => {
  assert.deepEqual(rig.bugs, []);
});

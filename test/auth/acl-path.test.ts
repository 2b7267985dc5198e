import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAtOrBelow, parseAclPath, pathsDownTo } from '../../src/auth/acl-path.ts';
import { withCode } from './access-fixture.ts';

test('the paths of Proxmox Backup Server are taken', () => {
  const deep = `/datastore/store1/${['a', 'b', 'c', 'd', 'e', 'f', 'g'].join('/')}`;
  const good = ['/', '/access', '/access/acl', '/access/users', '/access/domains', '/access/openid/keycloak'];
  good.push('/datastore', '/datastore/store1', '/datastore/store1/office/prod', deep);
  good.push('/remote', '/remote/office', '/remote/office/store1', '/remote/office/store1/a/b/c/d/e/f/g');
  good.push('/system', '/system/certificates', '/system/disks', '/system/log', '/system/notifications');
  good.push('/system/status', '/system/tasks', '/system/time', '/system/services', '/system/services/ssh');
  good.push('/system/network', '/system/network/dns', '/system/network/interfaces/eth0', '/system/s3-endpoint/x');
  good.push('/system/encryption-keys/k1', '/tape', '/tape/device/d', '/tape/pool/p', '/tape/job/j');
  for (const path of good) assert.equal(parseAclPath(path), path);
});

test('the paths of Proxmox VE are taken', () => {
  const good = ['/vms', '/vms/100', '/vms/999999999', '/storage', '/storage/local-zfs', '/nodes', '/nodes/pve1'];
  good.push('/pool/office', '/pool/office/web/test', '/sdn/zones/localnetwork/vmbr0/12', '/mapping/pci/gpu');
  good.push('/access/groups/admins', '/access/realm/local', '/pool', '/pool/-a/.b/c..');
  for (const path of good) assert.equal(parseAclPath(path), path);
  const bad = ['/vms/99', '/vms/x', '/vms/100/200', '/vms/0100', '/storage/a/b', '/nodes/a/b', '/pool/a/b/c/d'];
  bad.push('/pool/', '/pool/a/', '/pool/a//b', '/pool/..', '/pool/a/.', '/pool/../vms', '/pool/a b');
  for (const path of bad) assert.throws(() => parseAclPath(path), withCode('bad-name'), path);
});

test('a path that means nothing is refused in the words that clients know', () => {
  const bad = [
    '',
    'datastore',
    '/no/such/path',
    '/datastore/',
    '//datastore',
    '/datastore//a',
    '/access/users/anna@local',
  ];
  bad.push('/datastore/.hidden', '/datastore/a/..', '/system/nonsense', '/system/services/a/b', '/tape/device/d/e');
  bad.push('/datastore/s/1/2/3/4/5/6/7/8', '/datastore/a b', "/datastore/'; DROP TABLE acl; --", '/constructor');
  bad.push('/__proto__', '/access/toString', `/datastore/${'a'.repeat(400)}`, '/access/users/x');
  for (const path of bad)
    assert.throws(() => parseAclPath(path), withCode('bad-name', /^invalid acl path '.*'\.$/), path);
});

test('a path begins at the root', () => {
  assert.deepEqual(pathsDownTo('/'), ['/']);
  assert.deepEqual(pathsDownTo('/datastore/a/b'), ['/', '/datastore', '/datastore/a', '/datastore/a/b']);
  assert.ok(isAtOrBelow('/datastore/ab', '/'));
  assert.ok(isAtOrBelow('/datastore/a/b', '/datastore/a'));
  assert.ok(!isAtOrBelow('/datastore/ab', '/datastore/a'));
});

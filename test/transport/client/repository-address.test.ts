import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatRepositoryAddress,
  isServerAddress,
  originOf,
  parseRepositoryAddress,
} from '../../../src/transport/client/repository-address.ts';
import { HoldfastError } from '../../../src/util/errors.ts';

test('an address has user, token, host, port and store', () => {
  assert.deepEqual(parseRepositoryAddress('https://root@pam!nightly@backup.example.net:9443/tank'), {
    user: 'root@pam',
    token: 'nightly',
    host: 'backup.example.net',
    port: 9443,
    store: 'tank',
  });
});

test('port 8007 and no token are what is not said; IPv6 stands in brackets', () => {
  const text = 'https://joe@pbs@[fe80::1]/tank';
  const address = parseRepositoryAddress(text);
  assert.deepEqual(address, { user: 'joe@pbs', token: undefined, host: 'fe80::1', port: 8007, store: 'tank' });
  assert.equal(formatRepositoryAddress(address), text);
  assert.equal(originOf(address), 'https://[fe80::1]:8007');
});

test('what is printed is read back the same', () => {
  const name = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/);
  const address = fc.record(
    {
      user: fc.tuple(fc.stringMatching(/^[^\s:/@!\p{Cc}]{1,20}$/u), name).map(([user, realm]) => `${user}@${realm}`),
      token: fc.option(name, { nil: undefined }),
      host: fc.constantFrom('localhost', '192.0.2.7', 'a-b.example.org', '2001:db8::7'),
      port: fc.integer({ min: 1, max: 65_535 }),
      store: name,
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(address, (each) => {
      assert.deepEqual(parseRepositoryAddress(formatRepositoryAddress(each)), each);
    }),
  );
});

for (const [text, why] of [
  ['/backup/store', /begins with https/],
  ['http://root@pam@h/s', /begins with https/],
  ['https://root@pam@h', /name of the datastore/],
  ['https://root@pam@h/', /name of a datastore/],
  ['https://root@pam@h/a/b', /name of a datastore/],
  ['https://root@pam@h/../x', /name of a datastore/],
  ['https://h/s', /a user stands/],
  ['https://root@h/s', /USER@REALM/],
  ['https://root@pam!@h/s', /USER@REALM/],
  ['https://a@b@c@h/s', /USER@REALM/],
  ['https://root@pam@h:0/s', /1 to 65535/],
  ['https://root@pam@h:65536/s', /1 to 65535/],
  ['https://root@pam@fe80::1/s', /the host/],
  ['https://root@pam@[h]/s', /the host/],
  ['https://root@pam@ho st/s', /the host/],
  ['https://root@pam@/s', /the host/],
  [`https://root@pam@${'h'.repeat(254)}/s`, /the host/],
] as const) {
  test(`${text.slice(0, 40)} is refused`, () => {
    assert.throws(
      () => parseRepositoryAddress(text),
      (error: unknown) => error instanceof HoldfastError && error.code === 'bad-argument' && why.test(error.message),
    );
  });
}

test('a secret in the address is refused and not repeated', () => {
  assert.throws(
    () => parseRepositoryAddress('https://root@pam!ci:hunter2@h/s'),
    (error: unknown) =>
      error instanceof HoldfastError && /no secret/.test(error.message) && !error.message.includes('hunter2'),
  );
});

test('a directory is no address', () => {
  assert.ok(isServerAddress('https://root@pam@h/s'));
  assert.ok(!isServerAddress('./https/x'));
});

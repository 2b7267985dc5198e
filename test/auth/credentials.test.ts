import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ticketOf, tokenOf } from '../../src/auth/credentials.ts';

const TICKET = 'PBS:anna@local:691F3C40::abc+/def';

test('a ticket is found among cookies, encoded or not, with the browser-bound name first', () => {
  assert.equal(ticketOf(`PBSAuthCookie=${TICKET}`), TICKET);
  assert.equal(ticketOf(`PBSAuthCookie=${encodeURIComponent(TICKET)}`), TICKET);
  assert.equal(ticketOf(`a=b; PBSAuthCookie=${TICKET};c=d`), TICKET);
  assert.equal(ticketOf(`PBSAuthCookie=other; __Host-PBSAuthCookie=${TICKET}`), TICKET);
  assert.equal(ticketOf('PBSAuthCookie='), '');
});

test('other cookies are no ticket', () => {
  for (const cookie of [
    undefined,
    '',
    'PBSAuthCookie',
    `XPBSAuthCookie=${TICKET}`,
    `pbsauthcookie=${TICKET}`,
    'PBSAuthCookie=%',
  ])
    assert.equal(ticketOf(cookie), undefined);
});

test('a token is read as all clients write it', () => {
  const shown = { authId: 'anna@local!ci', secret: 'a:b=c' };
  assert.deepEqual(tokenOf('PBSAPIToken=anna@local!ci:a:b=c'), shown);
  assert.deepEqual(tokenOf('PBSAPIToken anna@local!ci:a:b=c'), shown);
  assert.deepEqual(tokenOf('PBSAPIToken=anna@local!ci:a%3Ab%3Dc'), shown);
});

test('what is no token is none', () => {
  const bad = [
    undefined,
    '',
    'Basic YTpi',
    'PBSAPIToken=',
    'PBSAPIToken=anna@local!ci=secret',
    'PBSAPIToken=anna@local:secret',
  ];
  bad.push(
    'PBSAPIToken=anna@local!:secret',
    'PBSAPIToken=%:x',
    'PBSAPIToken=:x',
    'PVEAPIToken=anna@pve!ci=x',
    'xPBSAPIToken=a@b!c:d',
  );
  for (const header of bad) assert.equal(tokenOf(header), undefined, header);
});

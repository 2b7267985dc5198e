import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BACKUP_CREDENTIALS,
  GUEST_CREDENTIALS,
  ticketOf as ticketIn,
  tokenOf as tokenIn,
} from '../../src/auth/credentials.ts';

const ticketOf = (cookie: string | undefined, authorization?: string, style = BACKUP_CREDENTIALS) =>
  ticketIn({ cookie, authorization, style });
const tokenOf = (authorization: string | undefined, style = BACKUP_CREDENTIALS) => tokenIn({ authorization, style });

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

test('the guest dialect has names of its own, takes a ticket from the other header too, and a token after its last =', () => {
  const guest = GUEST_CREDENTIALS;
  const ticket = 'PVE:anna@local:691F3C40::abc+/def==';
  assert.equal(ticketOf(`PVEAuthCookie=${ticket}`, undefined, guest), ticket);
  assert.equal(ticketOf(`PVEAuthCookie=${encodeURIComponent(ticket)}`, undefined, guest), ticket);
  assert.equal(ticketOf(undefined, `PVEAuthCookie=${ticket}`, guest), ticket);
  assert.equal(ticketOf('PVEAuthCookie=cookie', `PVEAuthCookie=${ticket}`, guest), 'cookie');
  assert.equal(ticketOf(`PBSAuthCookie=${ticket}`, undefined, guest), undefined);
  assert.equal(ticketOf(undefined, `PBSAuthCookie=${ticket}`), undefined);
  const shown = { authId: 'anna@local!ci', secret: 'abc' };
  assert.deepEqual(tokenOf('PVEAPIToken=anna@local!ci=abc', guest), shown);
  assert.deepEqual(tokenOf('PVEAPIToken anna@local!ci=abc', guest), shown);
  assert.deepEqual(tokenOf('PVEAPIToken=a=b@local!ci=abc', guest), { authId: 'a=b@local!ci', secret: 'abc' });
  for (const header of [
    'PVEAPIToken=anna@local!ci:abc',
    'PBSAPIToken=anna@local!ci:abc',
    'PVEAPIToken',
    'PVEAPIToken=',
  ])
    assert.equal(tokenOf(header, guest), undefined, header);
});

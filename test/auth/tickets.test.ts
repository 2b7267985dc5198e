import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { Tickets } from '../../src/auth/tickets.ts';
import { parseUserId } from '../../src/schema/auth-id.ts';
import { NOON_MS } from './access-fixture.ts';

const NOW = NOON_MS / 1000;
const ANNA = parseUserId('anna@local');
const BOB = parseUserId('bob@local');
const EPOCH = 'e1';
const epochOf = (): string => EPOCH;

function newTickets(): Tickets {
  const key = generateKeyPairSync('ed25519').privateKey.export({ format: 'der', type: 'pkcs8' });
  return new Tickets(key, randomBytes(32));
}

const tickets = newTickets();

test('a ticket has the layout of Proxmox', () => {
  const ticket = tickets.issue(ANNA, EPOCH, NOW);
  assert.match(ticket, /^PBS:anna@local:[0-9A-F]{8}::[A-Za-z0-9+/]{86}$/);
  assert.equal(Number.parseInt(ticket.split(':')[2], 16), NOW);
  assert.equal(tickets.read(ticket, NOW, epochOf), ANNA);
});

test('a ticket of the guest dialect says so, and is as good', () => {
  const ticket = tickets.issue(ANNA, EPOCH, NOW, 'PVE');
  assert.match(ticket, /^PVE:anna@local:[0-9A-F]{8}::[A-Za-z0-9+/]{86}$/);
  assert.equal(tickets.read(ticket, NOW, epochOf), ANNA);
  assert.equal(tickets.read(ticket.replace('PVE', 'PBS'), NOW, epochOf), undefined);
  const challenge = tickets.issueChallenge(ANNA, EPOCH, { totp: true, recovery: [] }, NOW, 'PVE');
  assert.match(challenge, /^PVE:!tfa!/);
  assert.ok(tickets.checkChallenge(challenge, ANNA, EPOCH, NOW));
});

test('a ticket counts from five minutes before its time to two hours after', () => {
  const ticket = tickets.issue(ANNA, EPOCH, NOW);
  for (const [age, isGood] of [
    [7200, true],
    [7201, false],
    [-300, true],
    [-301, false],
  ] as const) {
    assert.equal(tickets.read(ticket, NOW + age, epochOf) !== undefined, isGood, `${age} s`);
    assert.equal(tickets.checkCsrfToken(tickets.issueCsrfToken(ANNA, NOW), ANNA, NOW + age), isGood, `${age} s`);
  }
});

test('a new epoch ends the tickets of before, and an unknown user has none', () => {
  const ticket = tickets.issue(ANNA, EPOCH, NOW);
  assert.equal(
    tickets.read(ticket, NOW, () => 'e2'),
    undefined,
  );
  assert.equal(
    tickets.read(ticket, NOW, () => undefined),
    undefined,
  );
});

test('whatever is changed in a ticket makes it worthless', () => {
  const ticket = tickets.issue(ANNA, EPOCH, NOW);
  fc.assert(
    fc.property(fc.nat(ticket.length - 1), fc.string({ minLength: 1, maxLength: 2 }), (at, other) => {
      const changed = ticket.slice(0, at) + other + ticket.slice(at + 1);
      fc.pre(changed !== ticket);
      assert.equal(tickets.read(changed, NOW, epochOf), undefined);
    }),
    { numRuns: 2000 },
  );
  assert.equal(tickets.read(ticket.replace('anna', 'bob'), NOW, epochOf), undefined);
  assert.equal(newTickets().read(ticket, NOW, epochOf), undefined, "another server's key");
  for (const end of ['=', '==', ' ', '\n', 'A', ':']) assert.equal(tickets.read(ticket + end, NOW, epochOf), undefined);
});

test('the last letter of a signature, of which some bits mean nothing, has one spelling', () => {
  const ticket = tickets.issue(ANNA, EPOCH, NOW);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const accepted = [...alphabet].filter(
    (letter) => tickets.read(ticket.slice(0, -1) + letter, NOW, epochOf) !== undefined,
  );
  assert.deepEqual(accepted, [ticket.at(-1)]);
});

test('a challenge is no ticket, counts for its user alone, and for five minutes', () => {
  const challenge = tickets.issueChallenge(ANNA, EPOCH, { totp: true, recovery: [0, 3] }, NOW);
  assert.match(challenge, /^PBS:!tfa!\{"totp"%3Atrue,"recovery"%3A\[0,3\]\}:[0-9A-F]{8}::/);
  assert.equal(tickets.read(challenge, NOW, epochOf), undefined);
  assert.ok(tickets.checkChallenge(challenge, ANNA, EPOCH, NOW));
  assert.ok(!tickets.checkChallenge(challenge, BOB, EPOCH, NOW));
  assert.ok(!tickets.checkChallenge(challenge, ANNA, 'e2', NOW));
  assert.ok(tickets.checkChallenge(challenge, ANNA, EPOCH, NOW + 300));
  assert.ok(!tickets.checkChallenge(challenge, ANNA, EPOCH, NOW + 301));
  assert.ok(!tickets.checkChallenge(tickets.issue(ANNA, EPOCH, NOW), ANNA, EPOCH, NOW));
});

test('a CSRF token counts for its user alone, and cannot be made without the key', () => {
  const token = tickets.issueCsrfToken(ANNA, NOW);
  assert.match(token, /^[0-9A-F]{8}:[A-Za-z0-9+/]{43}$/);
  assert.ok(tickets.checkCsrfToken(token, ANNA, NOW));
  assert.ok(!tickets.checkCsrfToken(token, BOB, NOW));
  assert.ok(!newTickets().checkCsrfToken(token, ANNA, NOW));
  const later = (NOW + 1).toString(16).toUpperCase();
  assert.ok(!tickets.checkCsrfToken(later + token.slice(8), ANNA, NOW));
  for (const bad of ['', 'invalid', `${token}=`, token.slice(0, -1), token.toLowerCase(), `${token}\n`])
    assert.ok(!tickets.checkCsrfToken(bad, ANNA, NOW), JSON.stringify(bad));
});

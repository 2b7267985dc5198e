import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance, type QuotaShare } from '../../../src/datastore/limits/allowance.ts';
import { NO_LIMITS } from '../../../src/datastore/limits/limits-file.ts';
import { QuotaLedger, withAncestors } from '../../../src/datastore/limits/quota-ledger.ts';
import type { Limits } from '../../../src/schema/limits-file.ts';
import { parseNamespace } from '../../../src/schema/names.ts';

const limits = (namespaces: Record<string, number>, owners: Record<string, number> = {}): Limits => ({
  ...NO_LIMITS,
  quotas: { namespaces, owners },
});
const usage = (bytes: number) => ({ namespaceBytes: () => bytes, ownerBytes: () => bytes });
const session = (ns: string, owner = 'a@pam') => ({ ns: parseNamespace(ns), owner });

/** A session's thread under these quotas. */
const thread = (quotas: readonly QuotaShare[]) =>
  new Allowance({ root: '/', lowSpaceBytes: 0, quotas, stored: new SharedArrayBuffer(8) });

test('a namespace is bound by its own quota and by those above it; an owner by theirs', () => {
  const names = (ns: string, all: Limits) =>
    new QuotaLedger().enter(all, usage(0), session(ns)).map(({ name }) => name);
  const all = limits({ '': 9, a: 9, 'a/b': 9, ab: 9, 'a/b/c': 9 }, { 'a@pam': 9, 'b@pam': 9 });
  assert.deepEqual(names('a/b', all), ['namespace a/b', 'namespace a', 'the root namespace', 'owner a@pam']);
  assert.deepEqual(withAncestors(''), ['']);
});

test('what is used counts, and a quota that is used up lets nobody in', () => {
  const ledger = new QuotaLedger();
  const [share] = ledger.enter(limits({ a: 100 }), usage(60), session('a')) as [QuotaShare];
  const allowed = thread([share]);
  allowed.requireRoom(40);
  assert.throws(() => allowed.requireRoom(41), {
    code: 'quota-exceeded',
    data: { quota: 'namespace a', usedBytes: 60, quotaBytes: 100 },
  });
  assert.throws(() => ledger.enter(limits({ a: 100 }), usage(100), session('a')), { code: 'quota-exceeded' });
});

test('sessions under one quota share what is left of it', () => {
  const ledger = new QuotaLedger();
  const all = limits({ a: 100 });
  const one = thread(ledger.enter(all, usage(0), session('a')));
  const two = thread(ledger.enter(all, usage(0), session('a/b')));
  one.spend(70);
  assert.throws(() => two.requireRoom(31), { code: 'quota-exceeded' });
  two.requireRoom(30);
});

test('what was committed counts once, what was given up not at all', () => {
  const ledger = new QuotaLedger();
  const all = limits({ a: 100 });
  const staying = ledger.enter(all, usage(0), session('a'));
  const committed = ledger.enter(all, usage(0), session('a'));
  thread(committed).spend(40);
  ledger.leave(committed, 40, true);
  const given = ledger.enter(all, usage(40), session('a'));
  thread(given).requireRoom(60);
  assert.throws(() => thread(given).requireRoom(61), { code: 'quota-exceeded' });
  thread(given).spend(60);
  ledger.leave(given, 60, false);
  thread(ledger.enter(all, usage(40), session('a'))).requireRoom(60);
  assert.throws(() => thread(staying).requireRoom(61), { code: 'quota-exceeded' }, 'the first one still sees all');
  thread(staying).requireRoom(60);
});

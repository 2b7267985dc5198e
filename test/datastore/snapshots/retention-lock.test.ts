// The retention lock: what a wish for one comes to, and on a real store that nothing shortens or gets round it (rule L2).
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it, test } from 'node:test';
import fc from 'fast-check';
import { removePruned } from '../../../src/datastore/prune/prune-operation.ts';
import { readManifest } from '../../../src/datastore/snapshots/manifest-file.ts';
import {
  DEFAULT_MAX_LOCK_MS,
  extendedLock,
  maxLockMs,
  refuseLocked,
  remainingLockMs,
} from '../../../src/datastore/snapshots/retention-lock.ts';
import { changeSnapshot } from '../../../src/datastore/snapshots/snapshot-operations.ts';
import type { Manifest } from '../../../src/schema/manifest.ts';
import { commitImage, createTemporaryStore, NO_SIGNAL, OpenStore } from '../../support/store.ts';

const DAY_MS = 86_400_000;
const LABEL = 'vm/101/2026-11-20T02:00:00Z';

test('a lock only ever moves away, whatever is wished and however the clock went', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: -50, max: 100 }), fc.nat({ max: 100 })), { maxLength: 30 }),
      (steps) => {
        const server: { lockedUntilClockMs?: number } = {};
        let clockMs = 1000;
        for (const [forMs, passed] of steps) {
          const before = server.lockedUntilClockMs ?? 0;
          try {
            server.lockedUntilClockMs = extendedLock(LABEL, server, forMs, { clockMs, maxMs: 80 });
            assert.equal(server.lockedUntilClockMs, clockMs + forMs);
            assert.ok(forMs > 0 && forMs <= 80);
          } catch (error) {
            const code = forMs <= 0 ? 'bad-argument' : forMs > 80 ? 'too-large' : 'retention-locked';
            assert.equal((error as { code?: string }).code, code);
            if (code === 'retention-locked') assert.ok(clockMs + forMs < before);
          }
          assert.ok((server.lockedUntilClockMs ?? 0) >= before);
          clockMs += passed;
        }
      },
    ),
  );
});

test('messages say which snapshot, how long, and what is allowed', () => {
  const now = { clockMs: 5000, maxMs: 90 * DAY_MS };
  const locked = { lockedUntilClockMs: 5000 + 10 * DAY_MS };
  assert.throws(() => extendedLock(LABEL, {}, 91 * DAY_MS, now), {
    code: 'too-large',
    message: `${LABEL} cannot be locked for 91 d: the policy of this datastore allows at most 90 d`,
  });
  assert.throws(() => extendedLock(LABEL, locked, 9 * DAY_MS, now), {
    code: 'retention-locked',
    message: /another 10 d, which is longer than 9 d: a lock can be extended, never shortened/,
    data: { remainingMs: 10 * DAY_MS },
  });
  assert.equal(extendedLock(LABEL, locked, 10 * DAY_MS, now), locked.lockedUntilClockMs, 'the same again is no change');
  for (const forMs of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(() => extendedLock(LABEL, {}, forMs, now), { code: 'bad-argument' });
  assert.throws(() => extendedLock(LABEL, {}, 1, { clockMs: 0, maxMs: 0 }), { code: 'too-large' }, '0d allows none');
});

test('a lock holds up to its last millisecond', () => {
  const server = { lockedUntilClockMs: 1000 };
  assert.deepEqual(
    [0, 999, 1000, 2000].map((clockMs) => remainingLockMs(server, clockMs)),
    [1000, 1, 0, 0],
  );
  assert.equal(remainingLockMs({}, 0), 0);
  assert.throws(() => refuseLocked(LABEL, server, 999), { code: 'retention-locked', message: /for another 1 s/ });
  refuseLocked(LABEL, server, 1000);
  refuseLocked(LABEL, {}, 0);
});

test('a datastore without a policy allows the default', () => {
  const config = {} as Parameters<typeof maxLockMs>[0];
  assert.equal(maxLockMs(config), DEFAULT_MAX_LOCK_MS);
  assert.equal(maxLockMs({ ...config, retentionLock: { maxMs: 0 } }), 0);
});

describe('on a store', () => {
  let root: string;
  let remove: () => Promise<void>;
  let open: OpenStore;
  const clockFile = (): string => join(root, 'clock.json');
  const clockMs = (): number => JSON.parse(readFileSync(clockFile(), 'utf8')).elapsedMs;

  beforeEach(async () => {
    ({ root, remove } = await createTemporaryStore());
    open = await OpenStore.open(root, 1);
  });
  afterEach(async () => {
    await open.crash();
    await remove();
  });

  /** The store closed, its clock set, and opened again. */
  async function reopenAt(elapsedMs: number): Promise<void> {
    await open.close();
    writeFileSync(clockFile(), JSON.stringify({ elapsedMs }));
    open = await OpenStore.open(root, 1);
  }

  it('refuses forget and prune until the store clock has come to its end', async () => {
    const { name } = await commitImage(open, ['a']);
    const { lockedUntilClockMs, remainingMs } = await open.store.lockSnapshot(name, 30 * DAY_MS);
    assert.ok(remainingMs <= 30 * DAY_MS && remainingMs > 29 * DAY_MS);
    assert.ok(clockMs() + 30 * DAY_MS >= lockedUntilClockMs, 'the clock that it counts from is durable');
    const removal = { ns: name.ns, groups: [{ group: name.group, times: [name.time] }] };
    const work = { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} };
    const isKept = async (): Promise<void> => {
      await assert.rejects(open.store.forget(name), { code: 'retention-locked' });
      const { removed, kept } = await removePruned.run(open.store, removal, work);
      assert.deepEqual([removed, kept.map(({ rule }) => rule)], [0, ['locked']]);
      assert.ok((await open.store.groups.manifest(name)) !== undefined);
    };
    await isKept();
    await reopenAt(lockedUntilClockMs - 60_000);
    await isKept();
    await reopenAt(0);
    await isKept();
    await reopenAt(lockedUntilClockMs);
    await open.store.forget(name);
    assert.equal(await open.store.groups.manifest(name), undefined);
  });

  it('comes before protection, and stays through notes, protection and a crash', async () => {
    const { name } = await commitImage(open, ['a']);
    const { lockedUntilClockMs } = await open.store.lockSnapshot(name, DAY_MS);
    await open.store.updateSnapshot(name, { notes: 'kept', protected: true }, true);
    await assert.rejects(open.store.forget(name), { code: 'retention-locked' });
    await open.store.updateSnapshot(name, { protected: false }, true);
    await open.crash();
    open = await OpenStore.open(root, 1);
    const { server } = readManifest(open.store.groups.manifestPath(name)) as Manifest;
    assert.deepEqual([server.lockedUntilClockMs, server.notes, server.protected], [lockedUntilClockMs, 'kept', false]);
    await assert.rejects(open.store.forget(name), { code: 'retention-locked' });
  });

  it('is extended, never shortened, also not by a request that names the member', async () => {
    const { name } = await commitImage(open, ['a']);
    const first = await open.store.lockSnapshot(name, 10 * DAY_MS);
    await assert.rejects(open.store.lockSnapshot(name, DAY_MS), { code: 'retention-locked' });
    const second = await open.store.lockSnapshot(name, 20 * DAY_MS);
    assert.ok(second.lockedUntilClockMs >= first.lockedUntilClockMs + 10 * DAY_MS);
    const change = { notes: 'x', lockedUntilClockMs: 0, sequence: 9 } as { notes: string };
    await changeSnapshot.run(open.store, { name, change }, { signal: NO_SIGNAL, onProgress: () => {}, warn: () => {} });
    const { server } = (await open.store.groups.manifest(name)) as Manifest;
    assert.deepEqual([server.lockedUntilClockMs, server.notes, server.sequence], [second.lockedUntilClockMs, 'x', 1]);
  });

  it('the same wish again after a crash that set the clock back is granted', async () => {
    const { name } = await commitImage(open, ['a']);
    const first = await open.store.lockSnapshot(name, DAY_MS);
    await open.crash();
    writeFileSync(clockFile(), JSON.stringify({ elapsedMs: first.lockedUntilClockMs - DAY_MS }));
    open = await OpenStore.open(root, 1);
    assert.ok((await open.store.lockSnapshot(name, DAY_MS)).lockedUntilClockMs >= first.lockedUntilClockMs);
  });

  it('changes at once do not undo each other, and none brings back what is forgotten', async () => {
    const { name } = await commitImage(open, ['a']);
    await Promise.all([
      open.store.updateSnapshot(name, { notes: 'one' }, true),
      open.store.lockSnapshot(name, DAY_MS),
      open.store.updateSnapshot(name, { protected: true }, true),
      open.store.lockSnapshot(name, 2 * DAY_MS),
    ]);
    const { server } = (await open.store.groups.manifest(name)) as Manifest;
    assert.deepEqual([server.notes, server.protected], ['one', true]);
    assert.ok((server.lockedUntilClockMs ?? 0) >= 2 * DAY_MS);
    const other = await commitImage(open, ['b']);
    const [forgotten, locked] = await Promise.allSettled([
      open.store.forget(other.name),
      open.store.lockSnapshot(other.name, DAY_MS),
    ]);
    assert.deepEqual([forgotten.status, locked.status], ['fulfilled', 'rejected']);
    assert.equal(await open.store.groups.manifest(other.name), undefined);
    await assert.rejects(open.store.lockSnapshot(other.name, DAY_MS), { code: 'not-found' });
  });
});

// UPIDs: those that a Proxmox server wrote, the way there and back, and text that is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatUpid, MAX_WORKER_ID_BYTES, parseUpid, type Upid } from '../../src/schema/upid.ts';
import { HoldfastError } from '../../src/util/errors.ts';

const VERIFY = 'UPID:vm:00004400:0006D549:00000031:6B00F22F:verify_group:store1\\x3a-host-store1:admin@pbs:';

test('a UPID of a Proxmox server is read and written as it was', () => {
  const upid = parseUpid(VERIFY);
  assert.deepEqual(upid, {
    node: 'vm',
    pid: 17408,
    pstart: 447817,
    taskId: 0x31,
    starttime: 1795224111,
    type: 'verify_group',
    id: 'store1:/host/store1',
    user: 'admin@pbs',
  });
  assert.equal(formatUpid(upid), VERIFY);
  const prune = 'UPID:vm:00004400:0006D549:00000033:6B00F232:prune:store1\\x3a\\x3ahost-store1:admin@pbs!token:';
  assert.equal(parseUpid(prune).id, 'store1::host/store1');
  assert.equal(formatUpid(parseUpid(prune)), prune);
});

test('a task without a worker id has an empty field', () => {
  const upid = 'UPID:vm:00004400:0006D549:00000033:6B00F232:aptupdate::root@pam:';
  assert.equal(parseUpid(upid).id, null);
  assert.equal(formatUpid(parseUpid(upid)), upid);
});

const fields = {
  node: fc.stringMatching(/^[a-z0-9]{1,20}$/),
  pid: fc.integer({ min: 0, max: 0xffffffff }),
  pstart: fc.integer({ min: 0, max: 0xfffffffff }),
  taskId: fc.integer({ min: 0, max: 0xffffffffffff }),
  starttime: fc.integer({ min: 0, max: 0xffffffff }),
  type: fc.stringMatching(/^[a-z_]{1,30}$/),
  id: fc.oneof(fc.constant(null), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 })),
  user: fc.stringMatching(/^[a-z]{1,10}@[a-z]{2,5}(![a-z]{1,8})?$/),
};
const upids = fc.record(fields, { noNullPrototype: true });

test('any task comes back as it was', () => {
  fc.assert(
    fc.property(upids, (upid) => {
      const text = formatUpid(upid);
      assert.equal(text.split(':').length, 10);
      assert.doesNotMatch(text, /[\s/]/);
      assert.deepEqual(parseUpid(text), upid);
    }),
  );
});

test('whatever is no UPID is refused by name, and never anything else', () => {
  const refused = (text: string): void => {
    try {
      const parsed = parseUpid(text);
      assert.deepEqual(parseUpid(formatUpid(parsed)), parsed);
    } catch (error) {
      assert.ok(error instanceof HoldfastError, String(error));
      assert.equal(error.code, 'bad-name');
    }
  };
  fc.assert(fc.property(fc.string({ maxLength: 300 }), refused));
  // Near misses: characters of a true one taken out, put in, changed.
  fc.assert(
    fc.property(fc.nat(VERIFY.length), fc.nat(3), fc.string({ maxLength: 3 }), (at, cut, put) =>
      refused(VERIFY.slice(0, at) + put + VERIFY.slice(at + cut)),
    ),
  );
  const misses = [
    '',
    'UPID:nonsense',
    VERIFY.slice(0, -1),
    `${VERIFY}x`,
    `${VERIFY}\n`,
    VERIFY.replace('vm', 'v m'),
    VERIFY.replace('admin@pbs', '../etc'),
    VERIFY.replace('-host', '/host'),
    VERIFY.replace('\\x3a', '\\xff'),
    VERIFY.replace('store1', 'a'.repeat(MAX_WORKER_ID_BYTES)),
    `UPID:${'x'.repeat(100_000)}`,
  ];
  for (const text of misses)
    assert.throws(() => parseUpid(text), { name: 'HoldfastError', code: 'bad-name' }, text.slice(0, 80));
});

test('fields that would break a UPID are refused', () => {
  const good = parseUpid(VERIFY);
  const bad: Partial<Upid>[] = [
    { node: 'a:b' },
    { type: 'a b' },
    { type: '' },
    { user: 'a:b@pam' },
    { pid: -1 },
    { pid: 2 ** 33 },
    { starttime: 1.5 },
  ];
  for (const change of bad)
    assert.throws(() => formatUpid({ ...good, ...change }), { code: 'bad-name' }, JSON.stringify(change));
  assert.throws(() => formatUpid({ ...good, id: 'x'.repeat(MAX_WORKER_ID_BYTES + 1) }), { code: 'too-large' });
});

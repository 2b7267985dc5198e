// A client in Python that knows only docs/protocol.md and docs/format.md: what it backs up our command line restores and the other way
// round, it sends nothing twice, goes on after cut lines, and what the documents say is refused is refused with the error that they name.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, copyFileSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import { promisify } from 'node:util';
import { type BackupJson, listed } from '../cli/holdfast.ts';
import { type Account, type ServerRig, STORE, startRig } from '../support/server/server-rig.ts';

const MIB = 1024 * 1024;
const missing = ['python3', 'zstd'].find((program) => spawnSync(program, ['--version']).status !== 0);
const skip = missing === undefined ? false : `${missing} is not there`;

/** What a command of the client prints. */
interface Said {
  readonly snapshot: string;
  readonly snapshots: readonly string[];
  readonly records: number;
  readonly reconnects: number;
  readonly sessions: number;
  readonly adopted: number;
  readonly counters: Readonly<Record<'objects-new' | 'objects-reused' | 'bytes-new', number>>;
}

/** A bad request: what the documents say of it, and what the server did. */
interface Refusal {
  readonly name: string;
  readonly documented: object;
  readonly answered: object;
}

/** Bytes that look random, the same for the same seed. */
function noise(length: number, seed: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** A sparse file with data at offsets. */
function writeImage(path: string, length: number, parts: ReadonlyMap<number, Buffer>): void {
  const fd = openSync(path, 'w');
  for (const [offset, content] of parts) writeSync(fd, content, 0, content.length, offset);
  closeSync(fd);
  truncateSync(path, length);
}

function same(one: string, other: string): void {
  assert.equal(spawnSync('cmp', [one, other]).status, 0, `${one} and ${other} differ`);
}

suite('a client in Python', { skip }, () => {
  const ended: (() => void)[] = [];
  let rig: ServerRig;
  let account: Account;
  let image: string;

  before(async () => {
    rig = await startRig({ after: (end) => void ended.unshift(end) });
    account = await rig.newcomer('vmhost', 'DatastoreBackup');
    image = rig.path('disk.img');
    const half = noise(MIB / 2, 1);
    const text = Buffer.from('a line of text\n'.repeat(30_000));
    writeImage(
      image,
      34 * MIB + 1234,
      new Map([
        [0, half],
        [2 * MIB, half],
        [5 * MIB + 4096, text],
        [33 * MIB, noise(MIB / 4 + 77, 2)],
      ]),
    );
  });
  after(() => {
    for (const end of ended) end();
  });

  const run = (program: string, ...args: string[]) => {
    const { server } = rig;
    const place = ['--server', `${server.host}:${server.port}`, '--fingerprint', server.fingerprint, '--store', STORE];
    const env = { ...process.env, SECOND_CLIENT_SECRET: account.secret, PYTHONDONTWRITEBYTECODE: '1' };
    const all = [`test/support/${program}`, ...place, '--token', account.authId, ...args];
    return promisify(execFile)('python3', all, { env, timeout: 60_000 });
  };
  const python = async (...args: [string, ...string[]]): Promise<string> => (await run(...args)).stdout;
  const client = async (...args: string[]): Promise<Said> =>
    JSON.parse(await python('second_client.py', ...args)) as Said;

  const restored = async (snapshot: string, original: string): Promise<void> => {
    const targets = [rig.path('ours.img'), rig.path('theirs.img')] as const;
    rmSync(targets[0], { force: true });
    const [ours, theirs] = targets;
    await Promise.all([
      account.run('restore', snapshot, 'disk0.img', ours),
      client('restore', snapshot, 'disk0.img', theirs),
    ]);
    for (const target of targets) same(original, target);
  };

  test('backs up what our command line and itself restore, and nothing twice', async () => {
    const first = await client('backup', 'vm/101', 'disk0.img', image);
    assert.ok(first.records > 20 && first.records < 40, `${first.records} records`);
    assert.deepEqual([first.counters['objects-new'], first.adopted, first.reconnects], [first.records, 0, 0]);
    await restored(first.snapshot, image);

    const again = await client('backup', 'vm/101', 'disk0.img', image);
    assert.equal(again.records, 0);

    const other = rig.path('changed.img');
    copyFileSync(image, other);
    const fd = openSync(other, 'r+');
    writeSync(fd, noise(4096, 3), 0, 4096, 33 * MIB);
    closeSync(fd);
    // A piece, its page and the root.
    const changed = await client('backup', 'vm/101', 'disk0.img', other);
    assert.equal(changed.records, 3);
    await restored(changed.snapshot, other);

    const all = [first, again, changed].map(({ snapshot }) => snapshot);
    assert.deepEqual([...(await client('list')).snapshots].sort(), all);
    await rig.admin.task(await rig.admin.call<string>('POST', `/admin/datastore/${STORE}/verify`, {}));
  });

  test('restores what our command line backs up, which goes on from what it made', async () => {
    const ours = await account.json<BackupJson>('backup', '--group', 'vm/101', `disk0.img:${image}`);
    await client('restore', ours.snapshot, 'disk0.img', rig.path('theirs.img'));
    same(image, rig.path('theirs.img'));
    const conf = rig.path('qemu-server.conf');
    writeFileSync(conf, 'cores: 4\n');
    const stream = noise(MIB + 5, 4);
    writeFileSync(rig.path('tape'), stream);
    const command = ['backup', '--group', 'vm/102', `vm.conf:${conf}`, 'tape.img:-', '--output-format', 'json'];
    const ran = await account.try(command, { stdin: stream });
    assert.equal(ran.code, 0, ran.stderr);
    const { snapshot } = JSON.parse(ran.stdout.toString()) as BackupJson;
    for (const [archive, original] of [
      ['vm.conf', conf],
      ['tape.img', rig.path('tape')],
    ] as const) {
      await client('restore', snapshot, archive, rig.path('theirs'));
      same(original, rig.path('theirs'));
    }
    const theirs = await client('backup', 'vm/101', 'disk0.img', image);
    assert.equal(theirs.records, 0);
  });

  test('goes on after a line that was cut within a record, an abort and a kill of the server, and sends what is missing', async () => {
    const fresh = (seed: number): string => {
      // What a user has stored in one group need not be sent for another.
      writeImage(
        rig.path(`${seed}.img`),
        20 * MIB,
        new Map([
          [0, noise(MIB / 2, seed)],
          [18 * MIB, noise(MIB / 2, seed + 100)],
        ]),
      );
      return rig.path(`${seed}.img`);
    };
    const cut = await client('backup', 'vm/103', 'disk0.img', fresh(10), '--cut', '3');
    assert.equal(cut.reconnects, 1);
    // The records of the first half arrived, and were not sent again.
    assert.ok(cut.records < cut.counters['objects-new'], JSON.stringify(cut));
    await restored(cut.snapshot, rig.path('10.img'));

    const left = await client('backup', 'vm/105', 'disk0.img', fresh(11), '--abort');
    assert.equal(left.records, left.counters['objects-new']);
    assert.ok(left.records > 15);
    assert.ok(!(await listed(account)).some((name) => name.startsWith('vm/105')));
    const next = await client('backup', 'vm/105', 'disk0.img', rig.path('11.img'));
    assert.deepEqual([next.records, next.adopted], [0, left.records]);

    const paused = run('second_client.py', 'backup', 'vm/106', 'disk0.img', fresh(12), '--pause', '3');
    await once(paused.child.stdout as Readable, 'data');
    await rig.server.end('SIGKILL');
    await rig.server.start();
    paused.child.stdin?.end('\n');
    const said = JSON.parse((await paused).stdout.replace('paused\n', '')) as Said;
    assert.deepEqual([said.sessions, said.reconnects], [2, 1]);
    await restored(said.snapshot, rig.path('12.img'));
  });

  test('trusts nobody with another certificate', async () => {
    const other = ['--fingerprint', 'ab'.repeat(32)];
    await assert.rejects(client(...other, 'list'), /another certificate/);
  });

  test('is refused whatever the documents say is refused, with the error that they name', async () => {
    const all = JSON.parse(await python('second_client_refusals.py', 'refusals', 'vm/104')) as readonly Refusal[];
    assert.ok(all.length > 50, `${all.length} requests`);
    const told = (key: 'documented' | 'answered') => Object.fromEntries(all.map((each) => [each.name, each[key]]));
    assert.deepEqual(told('answered'), told('documented'));
  });
});

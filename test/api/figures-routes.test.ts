// What monitoring asks for: whether snapshots were verified, when a disk is full, what a task said.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BACKUP_DIALECT } from '../../src/api/dialect/backup-dialect.ts';
import { describeApi } from '../../src/api/openapi/describe-api.ts';
import { METHODS } from '../../src/api/routes/methods.ts';
import { readAccounting, writeAccounting } from '../../src/datastore/accounting/accounting-file.ts';
import { commitImage, type OpenStore } from '../support/store.ts';
import { ApiRig } from './rig.ts';

const ROOT = 'root@pam';
const STORE = '/admin/datastore/store1';
const DAY = 86_400;
const rig = new ApiRig();
let open: OpenStore;

before(async () => {
  open = await rig.store('store1');
  await commitImage(open, ['one'], 'vm/101');
});
after(() => rig.close());

test('a snapshot shows what its verification said, and nothing before there was one', async () => {
  const rows = async () =>
    (await rig.call(ROOT, 'GET', `${STORE}/snapshots`)).json.data as { verification?: { state: string } }[];
  assert.equal('verification' in ((await rows())[0] as object), false);
  await rig.call(ROOT, 'POST', `${STORE}/verify`);
  await rig.tasks.settle();
  assert.equal((await rows())[0]?.verification?.state, 'ok');
});

test('usage says when the disk is full once there is something to tell from', async () => {
  const usage = async () => {
    const { json } = await rig.call(ROOT, 'GET', '/status/datastore-usage');
    return (json.data as { avail: number; 'estimated-full-date'?: number }[])[0];
  };
  assert.equal('estimated-full-date' in ((await usage()) as object), false);
  await open.store.account(new AbortController().signal, () => {});
  const { layout } = open.store;
  const accounting = await readAccounting(layout);
  const now = Math.floor(Date.now() / 1000);
  const perDay = Math.floor(((await usage())?.avail ?? 0) / 100);
  const counted = accounting?.snapshots[0];
  assert.ok(accounting !== undefined && counted !== undefined);
  const snapshots = [0, 1, 2, 3].map((day) => ({ ...counted, time: now - day * DAY, bytesStored: perDay }));
  await writeAccounting(layout, { ...accounting, snapshots });
  const full = (await usage())?.['estimated-full-date'] ?? 0;
  assert.ok(Math.abs(full - now - 100 * DAY) < 3 * DAY, `${(full - now) / DAY} days`);
});

test("a task's log comes as text, of any length, as far as it goes; of a task of others and of none it does not", async () => {
  let goOn = (): void => {};
  const gone = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const { upid } = rig.tasks.start({ type: 'test', id: 'store1', authId: ROOT }, async (task) => {
    for (let line = 0; line < 25_000; line++) task.log(`line ${line}`);
    await gone;
    return undefined;
  });
  await Promise.resolve();
  const path = `/nodes/localhost/tasks/${encodeURIComponent(upid)}/log`;
  const lines = Array.from({ length: 25_000 }, (_, line) => `line ${line}\n`);
  const running = await rig.bytes(ROOT, path, { download: 1, start: 5, limit: 1 });
  assert.equal(running.bytes.toString(), lines.join(''));
  const live = await rig.call(ROOT, 'GET', path, { start: 24_999, limit: 500, 'test-status': 1 });
  assert.deepEqual([live.json.active, live.json.total, (live.json.data as unknown[]).length], [true, 25_000, 2]);
  goOn();
  await rig.tasks.settle();
  const { headers, bytes } = await rig.bytes(ROOT, path, { download: true });
  assert.equal(bytes.toString(), `${lines.join('')}TASK OK\n`);
  assert.equal(headers['content-type'], 'text/plain;charset=UTF-8');
  assert.match(String(headers['content-disposition']), /^attachment; filename="UPID:/);
  rig.access.grant('anna@pbs', { '/datastore/store1': 'DatastorePowerUser' });
  assert.equal((await rig.bytes('anna@pbs', path, { download: 1 })).status, 403);
  const unknown = upid.replace(':test:', ':other:');
  assert.equal(
    (await rig.bytes(ROOT, `/nodes/localhost/tasks/${encodeURIComponent(unknown)}/log`, { download: 1 })).status,
    400,
  );
});

test('the OpenAPI document names the media of answers and bodies that are bytes', () => {
  const { paths } = describeApi(BACKUP_DIALECT, METHODS, { version: '1.0', release: '1', repoid: 'a' }) as {
    paths: Record<
      string,
      Record<string, { requestBody?: { content: object }; responses: { 200: { content: object } } }>
    >;
  };
  const of = (path: string, method = 'get') => paths[`/api2/json${path}`]?.[method];
  const media = (path: string) => Object.keys(of(path)?.responses[200].content ?? {});
  const base = '/admin/datastore/{store}';
  assert.deepEqual(media(`${base}/catalog`), ['application/json']);
  assert.deepEqual(media(`${base}/pxar-file-download`), ['application/octet-stream', 'application/zstd']);
  assert.deepEqual(media('/nodes/{node}/tasks/{upid}/log'), ['application/json', 'text/plain']);
  const log = of(`${base}/upload-backup-log`, 'post');
  assert.deepEqual(Object.keys(log?.requestBody?.content ?? {}), ['application/octet-stream']);
});

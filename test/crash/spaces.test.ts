// The file `spaces` when its writer dies or its disk fails: a number that records have is in the file for good (rule B3).
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { errorOf, holdfast, holdfastWithFault, jsonOf, skipWithoutBuild } from '../support/crash/cli.ts';
import { skipFaults } from '../support/faults/faults.ts';
import { Scratch } from '../support/power-cut/scratch.ts';

const SCRATCH_BYTES = 64 << 20;

suite('the file of spaces', { skip: skipWithoutBuild() || skipFaults() }, () => {
  let scratch: Scratch;
  let folder: string;
  let key: string;
  const stateBefore = process.env.HOLDFAST_STATE_DIR;

  before(async () => {
    scratch = Scratch.create(SCRATCH_BYTES);
    folder = scratch.path;
    process.env.HOLDFAST_STATE_DIR = join(folder, 'state');
    key = join(folder, 'key');
    jsonOf(await holdfast(folder, ['key', 'create', key, '--kdf', 'none']));
    writeFileSync(join(folder, 'a.conf'), 'a small file');
  });
  after(() => {
    if (stateBefore === undefined) delete process.env.HOLDFAST_STATE_DIR;
    else process.env.HOLDFAST_STATE_DIR = stateBefore;
    scratch.dispose();
  });

  const backup = (): string[] => [
    ...['backup', '--group', 'host/a', `a.conf:${join(folder, 'a.conf')}`, '--workers', '1'],
    ...['--keyfile', key, '--acknowledge-lost-key'],
  ];
  const newStore = async (name: string): Promise<string> => {
    const root = join(folder, name);
    jsonOf(await holdfast(root, ['datastore', 'create']));
    return root;
  };
  const spacesOf = (root: string): string => readFileSync(join(root, 'spaces'), 'utf8');
  const requireSound = async (root: string): Promise<void> => {
    assert.equal(spacesOf(root).match(/\n/g)?.length, 1);
    const restored = join(folder, 'restored');
    const args = ['restore', 'host/a/latest', 'a.conf', restored, '--overwrite', '--keyfile', key];
    jsonOf(await holdfast(root, args));
    assert.equal(readFileSync(restored, 'utf8'), 'a small file');
    jsonOf(await holdfast(root, ['datastore', 'verify']));
  };

  test('a line that its writer did not live to sync is synced before anything is stored in its space', async () => {
    const root = await newStore('killed');
    const plan = { ops: ['fsync'], only: ['/spaces'] } as const;
    const killed = await holdfastWithFault(root, backup(), { ...plan, action: 'kill' });
    assert.equal(killed.signal, 'SIGKILL');
    assert.match(spacesOf(root), /\n$/, 'the line is there as a whole');
    const next = await holdfastWithFault(root, backup(), { action: 'count' });
    jsonOf(next);
    const calls = next.calls.map(({ op, path }) => `${op} ${path}`);
    const synced = calls.indexOf('fsync /spaces');
    const stored = calls.findIndex((call) => call.startsWith('open /packs/'));
    assert.ok(stored > 0, calls.join('\n'));
    assert.ok(synced >= 0 && synced < stored, `synced at ${synced}, first pack at ${stored}`);
    await requireSound(root);
  });

  for (const [what, only] of [
    ['before the line', { ops: ['write'], action: 'kill' }],
    ['in the middle of the line', { ops: ['write'], action: 'tear' }],
  ] as const) {
    test(`killed ${what}: the next backup takes the same number`, async () => {
      const root = await newStore(what.replaceAll(' ', '-'));
      const killed = await holdfastWithFault(root, backup(), { ...only, only: ['/spaces'] });
      assert.equal(killed.signal, 'SIGKILL');
      assert.doesNotMatch(spacesOf(root), /\n/);
      jsonOf(await holdfast(root, backup()));
      await requireSound(root);
    });
  }

  for (const [action, code] of [
    ['eio', 'write-failed'],
    ['enospc', 'disk-full'],
  ] as const) {
    test(`a sync that fails with ${action.toUpperCase()} leaves no line that a later session could take for durable`, async () => {
      const root = await newStore(`failed-${action}`);
      const failed = await holdfastWithFault(root, backup(), { action, ops: ['fsync'], only: ['/spaces'] });
      assert.equal(errorOf(failed).code, code);
      assert.equal(spacesOf(root), '');
      jsonOf(await holdfast(root, backup()));
      await requireSound(root);
    });
  }
});

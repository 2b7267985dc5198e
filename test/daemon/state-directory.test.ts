// The state directory: private, and of one server at a time.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { StateDirectory } from '../../src/daemon/state-directory.ts';
import { temporaryDirectory } from '../datastore/fixture.ts';

test('it is made for its user alone, and a second server is told who has it', (t) => {
  const path = join(temporaryDirectory(t), 'a', 'state');
  const first = StateDirectory.open(path);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  assert.throws(() => StateDirectory.open(path), {
    code: 'datastore-locked',
    message: new RegExp(`process ${process.pid}\\)`),
  });
  first.close();
  StateDirectory.open(path).close();
});

test('a directory that a client made is closed to others; one with files of somebody else is refused', (t) => {
  const path = join(temporaryDirectory(t), 'state');
  mkdirSync(join(path, 'client'), { recursive: true });
  chmodSync(path, 0o755);
  StateDirectory.open(path).close();
  assert.equal(statSync(path).mode & 0o777, 0o700);
  const file = join(path, 'file');
  writeFileSync(file, '');
  chmodSync(path, 0o755);
  assert.throws(() => StateDirectory.open(path), { code: 'bad-argument', message: /chmod 700/ });
  assert.equal(statSync(path).mode & 0o777, 0o755);
  assert.throws(() => StateDirectory.open(file), { code: 'bad-argument' });
  assert.throws(() => StateDirectory.open(join(file, 'below')), { code: 'bad-argument', message: /--state-dir/ });
});

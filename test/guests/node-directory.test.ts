// Where a node keeps its guests, when that cannot be written to.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NodeDirectory } from '../../src/guests/node-directory.ts';
import { parseGuestId } from '../../src/schema/guest-names.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

test('a guest whose directory cannot be made is refused in words that say where', async (t) => {
  const path = join(temporaryDirectory(t), 'node');
  writeFileSync(path, 'a file');
  await assert.rejects(new NodeDirectory(path).prepare(parseGuestId(100)), {
    code: 'write-failed',
    message: /^VM 100: its directory cannot be made: .*ENOTDIR.*node.guests.100.*may be written to$/,
  });
});

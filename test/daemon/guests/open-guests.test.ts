// Two servers, or a server and a command, on the guests of one machine: one watches, and the other when the first has ended.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openGuests } from '../../../src/daemon/guests/open-guests.ts';
import { createLog } from '../../../src/daemon/log.ts';
import { NodeDirectory } from '../../../src/guests/node-directory.ts';
import { isWatched } from '../../../src/guests/watch/watch-lock.ts';

test('the guests are watched on when the process that did it ends, and by nobody when all have', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'hft-guests-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  const directory = new NodeDirectory(path);
  const becomes = async (wanted: boolean): Promise<void> => {
    for (let waited = 0; (await isWatched(directory)) !== wanted; waited += 20) {
      assert.ok(waited < 10_000, `watched: ${!wanted}`);
      await sleep(20);
    }
  };
  const open = () => openGuests(path, createLog('silent'), { watchAgainMs: 30 });
  const first = await open();
  await becomes(true);
  const second = await open();
  await sleep(100);
  await first.close();
  await becomes(true);
  await sleep(100);
  assert.equal(await isWatched(directory), true);
  await second.close();
  await becomes(false);
});

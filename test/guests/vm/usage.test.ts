// How busy a guest keeps its processors: two looks at the kernel's times, of a directory in the form of /proc.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { networkTraffic, ProcessorMeter, readLinks } from '../../../src/guests/vm/usage.ts';
import { parseGuestId } from '../../../src/schema/guest-names.ts';

const ID = parseGuestId(100);

test('processors in use: the mean since the start, then that of the time between two looks', async (t) => {
  const proc = await mkdtemp(join(tmpdir(), 'hft-proc-'));
  t.after(() => rm(proc, { recursive: true, force: true }));
  const at = async (upSeconds: number, pid: number, startTicks: number, user: number, system: number) => {
    await mkdir(join(proc, String(pid)), { recursive: true });
    const before = Array.from({ length: 10 }, () => 0).join(' ');
    const between = Array.from({ length: 6 }, () => 7).join(' ');
    // The program's name is the guest's business.
    await writeFile(
      join(proc, `${pid}/stat`),
      `${pid} (a) b) S ${before} ${user} ${system} ${between} ${startTicks} 9 9`,
    );
    await writeFile(join(proc, 'uptime'), `${upSeconds}.00 1.00\n`);
  };
  const meter = new ProcessorMeter(proc);
  await at(110, 5, 10_000, 300, 200);
  assert.equal(await meter.look(ID, 5, 2), 0.25, '5 of 10 s, of two processors');
  await at(114, 5, 10_000, 900, 200);
  assert.equal(await meter.look(ID, 5, 2), 0.75, '6 of 4 s more');
  await at(114.5, 5, 10_000, 900, 200);
  assert.equal(await meter.look(ID, 5, 2), 0.75, 'too soon to say anything else');
  await at(118, 5, 10_000, 900, 200);
  assert.equal(await meter.look(ID, 5, 2), 0, 'and that one was no look of its own');
  await at(120, 5, 10_000, 2900, 200);
  assert.equal(await meter.look(ID, 5, 2), 1, 'QEMU has threads beside the processors');
  await at(120, 5, 11_900, 50, 0);
  assert.equal(await meter.look(ID, 5, 1), 0.5, 'another process has the pid');
  assert.equal(await meter.look(ID, 6, 1), undefined);
});

test('the cards of a guest, the other way round than the host sees them', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'hft-proc-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, 'dev');
  await writeFile(
    file,
    `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  999       7    0    0    0     0          0         0      999       7    0    0    0     0       0          0
tap100i0:  11       7    0    0    0     0          0         0      200       7    0    0    0     0       0          0
tap100i12:100       7    0    0    0     0          0         0     3000       7    0    0    0     0       0          0
tap1000i0:  5       7    0    0    0     0          0         0        5       7    0    0    0     0       0          0
`,
  );
  assert.deepEqual(networkTraffic(ID, await readLinks(file)), { inBytes: 3200, outBytes: 111 });
  assert.deepEqual(networkTraffic(ID, await readLinks(join(directory, 'none'))), { inBytes: 0, outBytes: 0 });
});

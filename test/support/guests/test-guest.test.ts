// The guest that other tests build on: it must count, tell, freeze and go, or what they find means nothing.
import assert from 'node:assert/strict';
import { mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { command, leftovers, reasonToSkip, Scratch, unmount } from '../power-cut/scratch.ts';
import { JsonSocket } from './json-socket.ts';
import { createDisk, type RawGuest, startRawGuest } from './raw-guest.ts';
import { readCounter, readTestBlock, surveyBlocks, TEST_BLOCK_BYTES, writtenBlocks } from './test-blocks.ts';
import { surveyFiles } from './test-files.ts';
import { reasonToSkipGuest } from './test-guest.ts';

const MIB = 1 << 20;
const skip = await reasonToSkipGuest('mkfs.ext4');
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

suite('the test guest', { skip, timeout: 120_000 }, () => {
  let scratch: Scratch;
  let guest: RawGuest;
  const image = (name: string) => join(scratch.path, name);

  before(async () => {
    scratch = Scratch.create(256 * MIB);
    createDisk(image('a.raw'), 'raw', 64 * MIB);
    createDisk(image('b.qcow2'), 'qcow2', 64 * MIB);
    writeFileSync(image('c.raw'), Buffer.alloc(32 * MIB));
    command('mkfs.ext4', ['-q', '-F', image('c.raw')]);
    guest = await startRawGuest({
      disks: [
        { id: 'scsi0', path: image('a.raw'), format: 'raw' },
        { id: 'virtio1', path: image('b.qcow2'), format: 'qcow2', bus: 'virtio' },
        { id: 'virtio2', path: image('c.raw'), format: 'raw', bus: 'virtio' },
      ],
      settings: { ip: '10.11.12.13/16', run: 'counter,START,sda,vda' },
      args: ['-device', 'virtio-net-pci,mac=52:54:00:12:34:56'],
    });
    await guest.ready();
  });

  after(async () => {
    await guest?.close();
    scratch?.dispose();
    assert.deepEqual(leftovers(), []);
  });

  test('says what it has, on the console too', async () => {
    assert.match(guest.console(), /holdfast test guest ready/);
    const { disks } = await guest.port.ask('disks');
    assert.deepEqual(disks, [
      { name: 'sda', sizeBytes: 64 * MIB, serial: 'scsi0' },
      { name: 'vda', sizeBytes: 64 * MIB, serial: 'virtio1' },
      { name: 'vdb', sizeBytes: 32 * MIB, serial: 'virtio2' },
    ]);
    await assert.rejects(guest.port.ask('nonsense'), /no such command/);
    await assert.rejects(guest.port.ask('checksum vdz 0 4096'), /No such file/);
    const serial = await JsonSocket.connect(guest.socket('serial'));
    serial.send('ping\n');
    assert.deepEqual(await serial.next(10_000), { ok: true });
    serial.close();
  });

  test('counts on both disks from its start on, and is told of a write that fails', async () => {
    await guest.port.ask('reset-stats');
    const before = await guest.port.ask('stats');
    await pause(300);
    const stats = await guest.port.ask('stats');
    assert.ok(stats.counterB > before.counterB && stats.writes > 0 && stats.failed === 0, JSON.stringify(stats));
    assert.ok(stats.p50Ms <= stats.p99Ms && stats.p99Ms <= stats.maxMs * 1.1 && stats.p50Ms > 0);
    await guest.execute('stop');
    const [a, b] = [readCounter(image('a.raw')), await counterOf(image('b.qcow2'))];
    assert.ok(a === b || a === b + 1, `${a} on A, ${b} on B`);
    await guest.execute('cont');
    await guest.port.ask('counter STOP');
    const last = await guest.port.ask('stats');
    assert.equal(readCounter(image('a.raw')), last.counterA);
    await guest.port.ask(`counter START sda - ${2 ** 40}`);
    await pause(100);
    const failing = await guest.port.ask('counter STOP');
    assert.ok(failing.failed > 0 && failing.counterA === 0, JSON.stringify(failing));
  });

  test('writes what the host can tell, and reads what the host wrote', async () => {
    const { crc32: told } = await guest.port.ask(`write vda ${8 * MIB} ${MIB} 42`);
    assert.equal(told, crc32(writtenBlocks(8 * MIB, MIB, 42)));
    assert.equal((await guest.port.ask(`checksum vda ${8 * MIB} ${MIB}`)).crc32, told);
    await guest.port.ask(`write sda ${8 * MIB} 65536 43`);
    assert.ok(
      readFileSync(image('a.raw'))
        .subarray(8 * MIB, 8 * MIB + 65536)
        .equals(writtenBlocks(8 * MIB, 65536, 43)),
    );
  });

  test('random writes leave whole blocks in their places, discards leave zeros', async () => {
    await guest.port.ask(`load START sda ${16 * MIB} ${8 * MIB} 0 5`);
    await pause(700);
    const { load } = await guest.port.ask('load STOP');
    const survey = surveyBlocks(image('a.raw'), 16 * MIB, 8 * MIB);
    assert.ok(load.writes > 20 && load.discards > 0 && load.failed === 0, JSON.stringify(load));
    assert.deepEqual([survey.torn, survey.foreign, survey.other], [[], [], []]);
    assert.ok(survey.whole > 100 && survey.highestSequence === load.sequence, JSON.stringify(survey));
    assert.deepEqual(surveyBlocks(image('a.raw'), 24 * MIB, MIB).whole, 0);
  });

  test('an agent as backups need it: freezes, thaws, refuses while frozen', async () => {
    await guest.port.ask('mount vdb');
    await guest.port.ask('files START vdb');
    const agent = await JsonSocket.connect(guest.socket('agent'));
    const call = async (execute: string, args?: object) => {
      agent.send(`${JSON.stringify({ execute, ...(args && { arguments: args }) })}\n`);
      return await agent.next(10_000);
    };
    agent.send(Buffer.from([0xff]));
    assert.match((await agent.next(10_000)).error.desc, /^JSON parse error, stray/);
    assert.deepEqual(await call('guest-sync-delimited', { id: 4711 }), { return: 4711 });
    assert.deepEqual(await call('guest-ping'), { return: {} });
    assert.deepEqual(await call('guest-fsfreeze-freeze'), { return: 1 });
    assert.deepEqual(await call('guest-fsfreeze-status'), { return: 'frozen' });
    assert.equal((await call('guest-get-osinfo')).error.class, 'CommandNotFound');
    const { files } = await guest.port.ask('stats');
    await pause(100);
    assert.ok((await guest.port.ask('stats')).files.created <= files.created + 1, 'nothing is written while frozen');
    assert.deepEqual(await call('guest-fsfreeze-thaw'), { return: 1 });
    assert.deepEqual(await call('guest-fsfreeze-status'), { return: 'thawed' });
    const { return: cards } = await call('guest-network-get-interfaces');
    const card = cards.find((each: { name: string }) => each.name === 'eth0');
    assert.equal(card['hardware-address'], '52:54:00:12:34:56');
    assert.deepEqual(card['ip-addresses'], [{ 'ip-address-type': 'ipv4', 'ip-address': '10.11.12.13', prefix: 16 }]);
    await guest.port.ask('set freeze fail');
    assert.match((await call('guest-fsfreeze-freeze')).error.desc, /failed to freeze/);
    await guest.port.ask('set freeze hang');
    await assert.rejects(async () => {
      agent.send('{"execute":"guest-fsfreeze-freeze"}\n');
      await agent.next(300);
    }, /no answer within/);
    await guest.port.ask('set freeze no');
    assert.deepEqual(await agent.next(10_000), { return: 1 });
    assert.deepEqual(await call('guest-fsfreeze-thaw'), { return: 1 });
    await guest.port.ask('set agent silent');
    await assert.rejects(async () => {
      agent.send('{"execute":"guest-ping"}\n');
      await agent.next(300);
    }, /no answer within/);
    agent.close();
  });

  test('the power button ends it, with its files whole', async () => {
    await guest.port.ask('set acpi ignore');
    await guest.execute('system_powerdown');
    await pause(200);
    assert.match(guest.console(), /power button ignored/);
    await guest.port.ask('set acpi obey');
    const { files } = await guest.port.ask('stats');
    await guest.execute('system_powerdown');
    assert.equal(await guest.ended, 0);
    assert.ok(files.durable > 0);
    command('e2fsck', ['-fn', image('c.raw')]);
    if (reasonToSkip('mount')) return;
    mkdirSync(image('mnt'));
    command('mount', ['-o', 'loop,ro', image('c.raw'), image('mnt')]);
    try {
      const survey = surveyFiles(image('mnt'), files.durable);
      assert.deepEqual(survey.wrong, []);
      assert.ok(survey.files > 0 && survey.highest >= files.durable);
      assert.match(surveyFiles(image('mnt'), survey.highest + 1).wrong.join(), /was durable and is missing/);
    } finally {
      unmount(image('mnt'));
    }
  });

  /** Of a qcow2 image that QEMU holds open. */
  async function counterOf(path: string): Promise<number> {
    const raw = image('copy.raw');
    command('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'raw', path, raw]);
    try {
      return readCounter(raw);
    } finally {
      rmSync(raw);
    }
  }
});

test('a torn block, one from elsewhere and one that is not ours are told apart', () => {
  const scratch = Scratch.create(MIB);
  try {
    const path = join(scratch.path, 'blocks.raw');
    const blocks = writtenBlocks(0, 5 * TEST_BLOCK_BYTES, 1);
    blocks[TEST_BLOCK_BYTES + 3000] ^= 1;
    blocks.copyWithin(2 * TEST_BLOCK_BYTES, 0, TEST_BLOCK_BYTES);
    blocks.fill(7, 3 * TEST_BLOCK_BYTES, 4 * TEST_BLOCK_BYTES);
    const fd = openSync(path, 'w');
    writeSync(fd, blocks);
    const { whole, zero, torn, foreign, other } = surveyBlocks(path, 0, 6 * TEST_BLOCK_BYTES);
    assert.deepEqual([whole, zero, torn, foreign, other], [2, 1, [1], [2], [3]]);
    assert.equal(readTestBlock(blocks.subarray(0, TEST_BLOCK_BYTES), 0)?.kind, 'write');
    assert.equal(readTestBlock(blocks.subarray(0, TEST_BLOCK_BYTES), 1), undefined);
    assert.throws(() => readCounter(path, TEST_BLOCK_BYTES), /no counter/);
  } finally {
    scratch.dispose();
  }
});

// Restores of virtual machines from a server that are cut off in the middle: kill -9 of the command, and a server that begins anew. The guest of a live
// restore goes on, and in the end its disks are the backup with what it wrote.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { QmpClient } from '../../src/guests/qmp/qmp-client.ts';
import { queryBlockJobs, queryBlockNodes, queryStatus } from '../../src/guests/qmp/qmp-types.ts';
import { withMonitor } from '../../src/guests/vm/machine-state.ts';
import { stopVm } from '../../src/guests/vm/stop.ts';
import { type GuestId, parseGuestId } from '../../src/schema/guest-names.ts';
import { pattern } from '../agent/nbd/servers.ts';
import { start } from '../cli/holdfast.ts';
import type { GuestPort } from '../support/guests/guest-port.ts';
import { nodeQemuOf, qemuBuilds } from '../support/guests/qemu-builds.ts';
import { writtenBlocks } from '../support/guests/test-blocks.ts';
import { reasonToSkipGuest } from '../support/guests/test-guest.ts';
import { KeptReport, TestNode } from '../support/guests/vm-node.ts';
import { settingsOf, volumesOf } from '../support/guests/vm-restores.ts';
import { type Account, type ServerRig, startRig } from '../support/server/server-rig.ts';
import { TcpProxy } from '../support/server/tcp-proxy.ts';

const MIB = 1 << 20;
const DISK_MIB = 64;
const KEYS = ['scsi0', 'scsi1'] as const;
type Key = (typeof KEYS)[number];
/** Two disks take 85 s. */
const SLOW_LINE = 1.5 * MIB;
/** From here down lies what is asked for while it cannot be had. */
const TAIL_AT = 61 * MIB;

const skip = await reasonToSkipGuest();

for (const [place, build] of qemuBuilds.entries())
  suite(`restores that are cut off, ${build.name}`, { skip: skip || build.skip, timeout: 600_000 }, () => {
    const ended: (() => void)[] = [];
    const source = 7401 + 10 * place;
    let node: TestNode;
    let rig: ServerRig;
    let proxy: TcpProxy;
    let account: Account;
    /** What was backed up. */
    const content = { scsi0: pattern(DISK_MIB * MIB, 1), scsi1: pattern(DISK_MIB * MIB, 2) };

    before(async () => {
      node = await TestNode.create({ qemu: nodeQemuOf(build) });
      rig = await startRig({ after: (end) => void ended.unshift(end) }, ['--drain', '2']);
      const { host, port, bulkPort } = rig.server;
      proxy = await TcpProxy.start('127.0.0.5', { host, ports: [port, bulkPort] });
      ended.unshift(() => void proxy.close().catch(() => undefined));
      const env = { HOLDFAST_NODE_DIR: node.path };
      account = (await rig.newcomer('vmhost', 'DatastorePowerUser')).at(proxy.host, port).with(env);
      const disk = (format: 'qcow2' | 'raw', key: Key) => ({ format, sizeMiB: DISK_MIB, options: `,serial=${key}` });
      const disks = { scsi0: disk('qcow2', 'scsi0'), scsi1: disk('raw', 'scsi1') };
      const id = await node.addVm(source, { disks, settings: { agent: '0' } });
      for (const key of KEYS) {
        const volume = ((await settingsOf(node, id)).get(key) as string).split(',')[0] as string;
        const { path, format } = await node.node.storages.volume(volume);
        const raw = join(node.path, 'content');
        writeFileSync(raw, content[key]);
        execFileSync('qemu-img', ['convert', '-n', '-f', 'raw', '-O', format, raw, path]);
      }
      await account.run('vm', 'backup', String(source));
    });

    after(async () => {
      await node?.remove();
      for (const end of ended) end();
    });

    /** The command, over a slow line; `said` waits for a word of it. */
    function command(...words: string[]) {
      proxy.limit(SLOW_LINE);
      const run = start(['vm', 'restore', ...words], { env: account.env, timeoutMs: 180_000 });
      ended.unshift(() => void run.child.kill('SIGKILL'));
      run.ended.catch(() => undefined);
      let heard = '';
      run.child.stderr?.on('data', (bytes) => {
        heard += String(bytes);
      });
      const said = async (pattern: RegExp): Promise<void> => {
        for (let tries = 0; !pattern.test(heard); tries++) {
          assert.ok(tries < 1000 && run.child.exitCode === null, `it does not say ${pattern}: ${heard}`);
          await sleep(50);
        }
      };
      return { ...run, said };
    }

    /** A guest of a live restore, and what its disks must hold. */
    class LiveGuest {
      readonly id: GuestId;
      readonly wanted = { scsi0: Buffer.from(content.scsi0), scsi1: Buffer.from(content.scsi1) };
      #port!: GuestPort;
      readonly #names = { scsi0: '', scsi1: '' };

      constructor(id: GuestId) {
        this.id = id;
      }

      /** Its disks are not copied meanwhile, nor before `outlives` and `goOn`: however slow this machine is, there is something left to copy. */
      async boot(): Promise<void> {
        await this.#eachJob('block-job-pause');
        proxy.limit(undefined);
        this.#port = await node.port();
        const { disks } = await this.#port.ask('disks');
        for (const { serial, name } of disks as { serial: Key; name: string }[]) this.#names[serial] = name;
        proxy.limit(SLOW_LINE);
      }

      async goOn(): Promise<void> {
        await this.#eachJob('block-job-resume');
      }

      /** Not at the bounds of clusters. An error of the disk is one of the command. */
      async write(key: Key, offset: number, seed: number): Promise<void> {
        const at = offset + 4096;
        await this.#port.ask(`write ${this.#names[key]} ${at} ${MIB} ${seed}`, 90_000);
        writtenBlocks(at, MIB, seed).copy(this.wanted[key], at);
      }

      async readsRight(key: Key, offset: number): Promise<void> {
        const answer = await this.#port.ask(`checksum ${this.#names[key]} ${offset} ${MIB}`, 90_000);
        const wanted = crc32(this.wanted[key].subarray(offset, offset + MIB));
        assert.equal(answer.crc32, wanted, `${key} at ${offset}`);
      }

      async #eachJob(command: 'block-job-pause' | 'block-job-resume'): Promise<void> {
        // Over a slow line QEMU is silent for seconds while the guest resets its controller.
        const monitor = await QmpClient.connect(node.node.directory.run(this.id).controlMonitor, { timeoutMs: 60_000 });
        for (const key of KEYS) await monitor.execute(command, { device: `restore-${key}` });
        monitor.close();
      }

      /** Reads and writes of what is not copied yet have to wait, from `end` on until `begin`. */
      async outlives(end: () => Promise<unknown>, begin: () => Promise<void>, seed: number): Promise<void> {
        const at = TAIL_AT - seed * 3 * MIB;
        await end();
        await this.goOn();
        await this.#requireStreaming(at);
        let isOver = false;
        const work = (async () => {
          for (const key of KEYS) {
            await this.readsRight(key, at + MIB);
            await this.write(key, at + 2 * MIB, seed);
          }
        })().finally(() => {
          isOver = true;
        });
        work.catch(() => undefined);
        await sleep(2000);
        assert.equal(isOver, false, 'what nobody serves is waited for');
        assert.equal(await this.status(), 'running');
        await begin();
        await this.#eachJob('block-job-pause');
        await work;
        assert.equal(await this.status(), 'running');
      }

      async status(): Promise<string> {
        return await withMonitor(node.node, this.id, async (monitor) => (await queryStatus(monitor)).status);
      }

      async #requireStreaming(before: number): Promise<void> {
        const jobs = await withMonitor(node.node, this.id, async (monitor) => await queryBlockJobs(monitor));
        assert.deepEqual(
          jobs
            .filter(({ offsetBytes }) => offsetBytes < before)
            .map((job) => job.id)
            .sort(),
          KEYS.map((key) => `restore-${key}`),
          JSON.stringify(jobs),
        );
      }

      /** Nothing of the restore is left in QEMU, on the storage or on the node, and no byte is wrong. */
      async requireWhole(): Promise<void> {
        const [nodes, jobs] = await withMonitor(node.node, this.id, async (monitor) => [
          await queryBlockNodes(monitor),
          await queryBlockJobs(monitor),
        ]);
        const names = KEYS.flatMap((key) => [`d-${key}`, `f-${key}`, `t-${key}`]).sort();
        assert.deepEqual(nodes.map(({ nodeName }) => nodeName).sort(), names);
        assert.deepEqual(jobs, []);
        const settings = await settingsOf(node, this.id);
        assert.deepEqual(
          [...settings.keys()].filter((key) => key === 'lock' || key.startsWith('unused')),
          [],
        );
        assert.equal((await volumesOf(node, this.id)).length, KEYS.length);
        assert.equal(readdirSync(node.node.directory.run(this.id).path).includes('restore-disks'), false);
        assert.equal(readdirSync(node.node.directory.guestPath(this.id)).includes('live-restore.json'), false);
        await this.write('scsi0', 2 * MIB, 99);
        await this.write('scsi1', 2 * MIB, 98);
        this.#port.close();
        await stopVm(node.node, this.id, {}, new KeptReport());
        for (const key of KEYS)
          assert.ok(readFileSync(await node.rawCopy(this.id, key)).equals(this.wanted[key]), `${key} is not right`);
      }
    }

    test('a server that begins anew, killed and in order: the live restore goes on by itself', async () => {
      const id = node.expectVm(source + 2);
      const run = command(`vm/${source}/latest`, String(id), '--live-restore');
      await run.said(/VM \d+ runs/);
      const guest = new LiveGuest(id);
      await guest.boot();
      for (const [place, signal] of (['SIGKILL', 'SIGTERM'] as const).entries())
        await guest.outlives(
          async () => await rig.server.end(signal),
          async () => await rig.server.start(),
          place + 1,
        );
      proxy.limit(undefined);
      await guest.goOn();
      const { code, stderr } = await run.ended;
      assert.equal(code, 0, stderr);
      assert.match(stderr, /the snapshot is open again/);
      await guest.requireWhole();
    });

    // What is killed is ours, and the same with any QEMU; what waits for the server is QEMU's.
    if (place > 0) return;

    test('kill -9 of a live restore: --resume goes on, and so does the same command', async () => {
      const id = node.expectVm(source + 1);
      const words = [`vm/${source}/latest`, String(id), '--live-restore'];
      const first = command(...words);
      await first.said(/VM \d+ runs/);
      const guest = new LiveGuest(id);
      await guest.boot();
      await guest.write('scsi0', 32 * MIB, 7);
      await guest.write('scsi1', 32 * MIB, 8);
      let last = first;
      const kill = async (): Promise<void> => {
        last.child.kill('SIGKILL');
        await last.ended;
      };
      const again = async (...more: string[]): Promise<void> => {
        last = command(...more);
        await last.said(/VM \d+ runs/);
      };
      await guest.outlives(kill, async () => await again('--resume', String(id)), 1);
      await guest.outlives(kill, async () => await again(...words), 2);
      proxy.limit(undefined);
      await guest.goOn();
      const { code, stderr } = await last.ended;
      assert.equal(code, 0, stderr);
      await guest.requireWhole();
    });

    test('kill -9 of a restore: what it made is named, and goes with the guest or stays beside the old one', async () => {
      const fresh = node.expectVm(source + 3);
      const there = parseGuestId(source);
      const kill = async (...words: string[]): Promise<void> => {
        const run = command(...words);
        const id = parseGuestId(words[1] as string);
        const isMade = async (): Promise<boolean> =>
          (await node.node.configs.list()).includes(id) && (await settingsOf(node, id)).has('unused1');
        for (let tries = 0; !(await isMade()); tries++) {
          assert.ok(tries < 1000 && run.child.exitCode === null, 'it makes volumes');
          await sleep(50);
        }
        run.child.kill('SIGKILL');
        await run.ended;
      };
      await kill(`vm/${source}/latest`, String(fresh));
      assert.equal((await settingsOf(node, fresh)).get('lock'), 'create');
      assert.equal((await volumesOf(node, fresh)).length, 2);
      await account.fails('exists', 'vm', 'restore', `vm/${source}/latest`, String(fresh));
      await account.run('vm', 'destroy', String(fresh));
      assert.deepEqual(await volumesOf(node, fresh), []);

      const before = new Map(await settingsOf(node, there));
      await kill(`vm/${source}/latest`, String(source), '--force');
      const cut = new Map(await settingsOf(node, there));
      assert.equal(cut.get('lock'), 'backup');
      for (const key of KEYS) assert.equal(cut.get(key), before.get(key));
      proxy.limit(undefined);
      await account.run('vm', 'backup', String(source));
      assert.equal((await settingsOf(node, there)).get('lock'), undefined);
      await account.run('vm', 'restore', `vm/${source}/latest`, String(source), '--force');
      for (const key of KEYS)
        assert.ok(readFileSync(await node.rawCopy(there, key)).equals(content[key]), `${key} is not right`);
    });
  });

// The simulator itself: its log is complete, a correct commit protocol survives every cut, and a wrong one does not.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import type { CrashMode } from '../support/power-cut/crash-points.ts';
import { type CrashCheck, describeBadPoints, Replay, type ReplayReport } from '../support/power-cut/replay.ts';
import { PowerCutRig, type Recording, skipPowerCut } from '../support/power-cut/rig.ts';
import { leftovers } from '../support/power-cut/scratch.ts';

const MIB = 1 << 20;
const COMMITS = 12;
const MODES: readonly CrashMode[] = ['prefix', 'cache'];

interface Protocol {
  syncFile: boolean;
  syncDirectory: boolean;
  /** Always the same name, so that every commit replaces a file. */
  replace?: boolean;
}

const content = (n: number) => Buffer.alloc(8000, 48 + (n % 10));
const fileName = (protocol: Protocol, n: number) => (protocol.replace ? 'c' : `c${n}`);

function syncAndClose(fd: number, sync: boolean): void {
  if (sync) fsyncSync(fd);
  closeSync(fd);
}

function commit(folder: string, n: number, protocol: Protocol): void {
  const path = join(folder, fileName(protocol, n));
  const fd = openSync(`${path}.tmp`, 'w');
  writeSync(fd, content(n));
  syncAndClose(fd, protocol.syncFile);
  renameSync(`${path}.tmp`, path);
  if (protocol.syncDirectory) syncAndClose(openSync(folder, 'r'), true);
}

function checkCommits(folder: string, lastMark: number, protocol: Protocol): void {
  if (protocol.replace) {
    const found = lastMark === 0 ? undefined : readFileSync(join(folder, 'c'));
    const allowed = [content(lastMark), content(lastMark + 1)];
    assert.ok(!found || allowed.some((each) => each.equals(found)), `commit ${lastMark} is gone or torn`);
    return;
  }
  for (let n = 1; n <= lastMark; n++) {
    assert.ok(content(n).equals(readFileSync(join(folder, `c${n}`))), `commit ${n} is torn`);
  }
}

function record(protocol: Protocol): { rig: PowerCutRig; recording: Recording } {
  const rig = PowerCutRig.create({ sizeBytes: 64 * MIB });
  try {
    for (let n = 1; n <= COMMITS; n++) {
      commit(rig.mountPath, n, protocol);
      rig.mark(n);
    }
    return { rig, recording: rig.finish() };
  } catch (error) {
    rig.dispose();
    throw error;
  }
}

async function replayAll(protocol: Protocol, t: TestContext): Promise<ReplayReport[]> {
  const { rig, recording } = record(protocol);
  try {
    return await replayModes(recording, t, (folder, lastMark) => checkCommits(folder, lastMark, protocol));
  } finally {
    rig.dispose();
  }
}

/** The reports of every mode, in the order of MODES. */
async function replayModes(recording: Recording, t: TestContext, check: CrashCheck): Promise<ReplayReport[]> {
  const replay = new Replay(recording);
  try {
    const reports: ReplayReport[] = [];
    for (const mode of MODES) {
      const report = await replay.check(replay.crashPoints({ mode, count: 60, seed: 7 }), check);
      t.diagnostic(`${mode}: ${report.bad.length} of ${report.points} bad, ${report.msPerPoint.toFixed(1)} ms each`);
      reports.push(report);
    }
    return reports;
  } finally {
    replay.close();
  }
}

/** Memory that O_DIRECT takes, filled with bytes that a search in the log finds. */
function alignedBytes(lengthBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(
    new WebAssembly.Memory({ initial: Math.ceil(lengthBytes / 65536) }).buffer,
    0,
    lengthBytes,
  );
  const words = new Uint32Array(bytes.buffer, 0, lengthBytes / 4);
  for (let at = 0, state = seed; at < words.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    words[at] = state;
  }
  return bytes;
}

suite('power-cut simulator', { skip: skipPowerCut() }, () => {
  after(() => assert.deepEqual(leftovers(), []));

  for (const replace of [false, true]) {
    const commits = replace ? 'commits that replace a file' : 'commits of new files';

    test(`correct ${commits} survive every cut`, async (t) => {
      for (const report of await replayAll({ syncFile: true, syncDirectory: true, replace }, t)) {
        assert.equal(report.bad.length, 0, describeBadPoints(report));
      }
    });

    test(`${commits} without fsync of the file are found`, async (t) => {
      for (const report of await replayAll({ syncFile: false, syncDirectory: true, replace }, t)) {
        assert.ok(report.bad.length > 0);
      }
    });

    test(`${commits} without fsync of the directory are found`, async (t) => {
      for (const report of await replayAll({ syncFile: true, syncDirectory: false, replace }, t)) {
        assert.ok(report.bad.length > 0);
      }
    });
  }

  test('direct writes in place need a flush, which only a volatile cache shows', async (t) => {
    const blockBytes = 65536;
    const bytes = alignedBytes(COMMITS * blockBytes, 9);
    for (const sync of [true, false]) {
      const rig = PowerCutRig.create({ sizeBytes: 64 * MIB });
      try {
        const fd = openSync(join(rig.mountPath, 'blocks'), constants.O_RDWR | constants.O_CREAT | constants.O_DIRECT);
        writeSync(fd, new Uint8Array(new WebAssembly.Memory({ initial: COMMITS }).buffer));
        fsyncSync(fd);
        syncAndClose(openSync(rig.mountPath, 'r'), true);
        rig.mark(0);
        for (let n = 1; n <= COMMITS; n++) {
          writeSync(fd, bytes, (n - 1) * blockBytes, blockBytes, (n - 1) * blockBytes);
          if (sync) fdatasyncSync(fd);
          rig.mark(n);
        }
        closeSync(fd);
        const [prefix, cache] = await replayModes(rig.finish(), t, (folder, lastMark) => {
          if (lastMark === 0) return;
          const found = readFileSync(join(folder, 'blocks')).subarray(0, lastMark * blockBytes);
          assert.ok(found.equals(bytes.subarray(0, lastMark * blockBytes)), 'a block is lost or torn');
        });
        assert.equal(prefix!.bad.length, 0, describeBadPoints(prefix!));
        assert.equal(cache!.bad.length === 0, sync, describeBadPoints(cache!));
      } finally {
        rig.dispose();
      }
    }
  });

  test('O_DIRECT writes are in the log when they return, and the whole log gives the whole disk', async (t) => {
    const rig = PowerCutRig.create({ sizeBytes: 512 * MIB, logBytes: 1024 * MIB });
    try {
      const packBytes = 64 * MIB;
      const bytes = alignedBytes(packBytes, 1);
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_DIRECT;
      const fd = openSync(join(rig.mountPath, 'pack'), flags);
      const started = performance.now();
      rig.mark(1);
      for (let at = 0; at < packBytes; at += MIB) assert.equal(writeSync(fd, bytes, at, MIB, at), MIB);
      rig.mark(2);
      fdatasyncSync(fd);
      rig.mark(3);
      closeSync(fd);
      t.diagnostic(`${((packBytes / MIB / (performance.now() - started)) * 1000).toFixed(0)} MiB/s with O_DIRECT`);

      const replay = new Replay(rig.finish());
      try {
        const at = (mark: number) => replay.log.entries.findIndex((entry) => entry.mark === mark);
        const logged = replay.log.entries.slice(at(1), at(2)).filter((entry) => entry.mark === undefined);
        const loggedBytes = logged.reduce((sum, entry) => sum + entry.lengthBytes, 0);
        assert.ok(loggedBytes >= packBytes, `${loggedBytes} bytes between the marks`);
        replay.assertComplete();

        const points = replay.crashPoints({ mode: 'cache', count: 12, seed: 3 });
        const report = await replay.check(points, (folder, lastMark) => {
          if (lastMark >= 3) assert.ok(readFileSync(join(folder, 'pack')).equals(bytes), 'the pack is torn');
        });
        assert.equal(report.bad.length, 0, describeBadPoints(report));
        t.diagnostic(
          `512 MiB disk: ${report.msPerPoint.toFixed(0)} ms per point, ${report.imageMsPerPoint.toFixed(0)} for the image`,
        );
      } finally {
        replay.close();
      }
    } finally {
      rig.dispose();
    }
  });

  test('parallel writers: the whole log gives the whole disk', async () => {
    const rig = PowerCutRig.create({ sizeBytes: 64 * MIB });
    try {
      const script = `
        const fs = require('node:fs');
        for (let n = 0; n < 25; n++) {
          const fd = fs.openSync(process.argv[1] + '/' + process.argv[2] + '-' + n, 'w');
          fs.writeSync(fd, Buffer.alloc(1000 + 977 * n, process.argv[2]));
          fs.fsyncSync(fd);
          fs.closeSync(fd);
        }`;
      const run = promisify(execFile);
      const writers = ['a', 'b', 'c', 'd'].map((name) => run(process.execPath, ['-e', script, rig.mountPath, name]));
      await Promise.all(writers);
      const replay = new Replay(rig.finish());
      replay.assertComplete();
      replay.close();
    } finally {
      rig.dispose();
    }
  });

  test('another process writes marks, and crash points sit around each of them', async () => {
    const rig = PowerCutRig.create({ sizeBytes: 64 * MIB });
    try {
      const module = new URL('../support/power-cut/mark.ts', import.meta.url).href;
      const script = `import { writeMark } from ${JSON.stringify(module)};
        const { device, offset } = JSON.parse(process.argv[1]);
        for (const n of [1, 2, 3]) writeMark(device, offset, n);`;
      const options = ['--import', 'tsx', '--input-type=module', '-e', script, JSON.stringify(rig.markTarget)];
      await promisify(execFile)(process.execPath, options);
      commit(rig.mountPath, 4, { syncFile: true, syncDirectory: true });
      rig.mark(4);
      const replay = new Replay(rig.finish());
      const { entries } = replay.log;
      const marks = entries.flatMap(({ mark }, index) => (mark === undefined ? [] : [{ mark, index }]));
      assert.deepEqual(
        marks.map(({ mark }) => mark),
        [1, 2, 3, 4],
      );
      for (const mode of MODES) {
        const choice = { mode, count: 20, seed: 5 };
        const points = replay.crashPoints(choice);
        assert.ok(points.length <= 20);
        assert.deepEqual(points, replay.crashPoints(choice));
        for (const { index } of marks) assert.ok(points.some((point) => point.entry === index + 1));
      }
      replay.close();
    } finally {
      rig.dispose();
    }
  });

  test('a recovery can be recorded and cut again', async () => {
    const { rig, recording } = record({ syncFile: true, syncDirectory: true });
    const first = new Replay(recording);
    let secondPoints = 0;
    try {
      const points = first.crashPoints({ mode: 'cache', count: 3, seed: 11 });
      const report = await first.checkImages(points, async (image, lastMark) => {
        const second = PowerCutRig.fromImage(image, { firstMark: lastMark });
        try {
          checkCommits(second.mountPath, lastMark, { syncFile: true, syncDirectory: true });
          commit(second.mountPath, lastMark + 1, { syncFile: true, syncDirectory: true });
          second.mark(lastMark + 1);
          const replay = new Replay(second.finish());
          try {
            replay.assertComplete();
            const cuts = replay.crashPoints({ mode: 'cache', count: 6, seed: 13 });
            const again = await replay.check(cuts, (folder, mark) => {
              assert.ok(mark >= lastMark);
              checkCommits(folder, mark, { syncFile: true, syncDirectory: true });
            });
            assert.equal(again.bad.length, 0, describeBadPoints(again));
            secondPoints += again.points;
          } finally {
            replay.close();
          }
        } finally {
          second.dispose();
        }
      });
      assert.equal(report.bad.length, 0, describeBadPoints(report));
      assert.ok(secondPoints >= 12, `${secondPoints} second cuts`);
    } finally {
      first.close();
      rig.dispose();
    }
  });

  test('a rig that fails half-way, or is not finished, leaves nothing', () => {
    const rig = PowerCutRig.create({ sizeBytes: 64 * MIB });
    writeFileSync(join(rig.mountPath, 'unfinished'), 'not synced');
    rig.dispose();
    rig.dispose();
    const folder = mkdtempSync(join(tmpdir(), 'hf-no-disk-'));
    try {
      const image = join(folder, 'zeros');
      writeFileSync(image, Buffer.alloc(16 * MIB));
      assert.throws(() => PowerCutRig.fromImage(image), /mount/);
    } finally {
      rmSync(folder, { recursive: true });
    }
    assert.deepEqual(leftovers(), []);
  });

  test('what a killed process leaves, the next rig takes down', async () => {
    const module = new URL('../support/power-cut/rig.ts', import.meta.url).href;
    const script = `import { PowerCutRig } from ${JSON.stringify(module)};
      PowerCutRig.create({ sizeBytes: ${64 * MIB} });
      process.kill(process.pid, 'SIGKILL');`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: 'inherit',
    });
    const [, signal] = await once(child, 'exit');
    assert.equal(signal, 'SIGKILL');
    PowerCutRig.create({ sizeBytes: 64 * MIB }).dispose();
    assert.deepEqual(leftovers(child.pid), []);
  });
});

// Images for tests of storages: written, read and compared by QEMU's own programs, and used by a guest that never runs.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { LocatedImage } from '../../../src/guests/storage/storage.ts';
import { command } from '../../support/power-cut/scratch.ts';

export const MIB = 1 << 20;

/** Every entry below a directory that is more than a directory. */
export function filesBelow(path: string): string[] {
  if (!existsSync(path)) return [];
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

export function qemuIo({ path, format }: LocatedImage, ...commands: string[]): string {
  return command('qemu-io', ['-f', format, ...commands.flatMap((each) => ['-c', each]), path]);
}

/** Fills the first MiB. */
export const write = (image: LocatedImage, byte: number) => qemuIo(image, `write -P ${byte} 0 1M`);

export function assertHolds(image: LocatedImage, byte: number): void {
  assert.doesNotMatch(qemuIo(image, `read -P ${byte} 0 1M`), /verification failed/, `${image.path} holds other bytes`);
}

/** Has a guest that uses the image, stopped before its first instruction. */
export async function withGuestOn<Result>(
  { path, format }: LocatedImage,
  work: () => Promise<Result>,
): Promise<Result> {
  const disk = [
    '-blockdev',
    `driver=${format},node-name=d,file.driver=file,file.filename=${path}`,
    '-device',
    'virtio-blk-pci,drive=d',
  ];
  const args = [
    '-S',
    '-nodefaults',
    '-display',
    'none',
    '-machine',
    'q35,accel=tcg',
    '-m',
    '64',
    '-qmp',
    'stdio',
    ...disk,
  ];
  const child = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('close', resolve));
  try {
    // The monitor greets early and answers when all is set up.
    child.stdin.write('{"execute":"qmp_capabilities"}\n');
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject).once('close', () => reject(new Error('QEMU ended')));
      child.stdout.on('data', (data) => String(data).includes('"return"') && resolve());
    });
    return await work();
  } finally {
    child.kill();
    await ended;
  }
}

/** 64 MiB, with data at 1 MiB and 40 MiB and a piece less than a block at the end. */
export function makeSource(path: string): LocatedImage {
  const fd = openSync(path, 'w');
  writeSync(fd, Buffer.alloc(MIB, 'one'), 0, MIB, MIB);
  writeSync(fd, Buffer.alloc(MIB, 'two'), 0, MIB, 40 * MIB);
  writeSync(fd, Buffer.alloc(512, 'end'), 0, 512, 64 * MIB - 512);
  closeSync(fd);
  return { path, format: 'raw' };
}

export const assertEqualImages = (a: LocatedImage, b: LocatedImage) =>
  command('qemu-img', ['compare', '-q', '-f', a.format, '-F', b.format, a.path, b.path]);

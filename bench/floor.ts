// The C floor: what zstd and b3sum alone cost for the same job. They read the blocks that are not zero, as one file, because we skip
// zeros too. The bars hold against the floor that throws its result away, though ours makes it durable: zstd spends on writing a
// restored file more than on decompressing it. The rows "to a file" show the same job with the writing, without a sync.
import type { Contender } from './contender.ts';
import type { Command } from './measure.ts';
import { missingTools } from './tools.ts';

const missing = (): string | undefined => missingTools('zstd', 'b3sum');

const b3sum = (path: string, threads: number): Command => ({ argv: ['b3sum', '--num-threads', String(threads), path] });

const compress = (data: string, target: string, threads: number): Command => ({
  argv: ['zstd', '-1', `-T${threads}`, '-q', '-f', data, '-o', target],
});

/** `zstd` + `b3sum` over the data, one after the other. */
export function backupFloor(name: string, data: string, target: string, threads: number): Contender {
  const commands = (): Command[] => [compress(data, target, threads), b3sum(data, threads)];
  return { name, missing: missing(), reads: () => [data], commands };
}

export function hashFloor(name: string, data: string, threads: number): Contender {
  return { name, missing: missingTools('b3sum'), reads: () => [data], commands: () => [b3sum(data, threads)] };
}

/** The file that `restoreFloor` reads. */
export const compressForRestore = (data: string, target: string): Command => compress(data, target, 2);

/** `zstd -d` + `b3sum` of what came out. */
export function restoreFloor(name: string, compressed: string, target: string, data: string): Contender {
  const decompress: Command = { argv: ['zstd', '-d', '-q', '-f', '--no-sparse', compressed, '-o', target] };
  const reads = (): string[] => [compressed, ...(data === target ? [] : [data])];
  return { name, missing: missing(), reads, commands: () => [decompress, b3sum(data, 1)] };
}

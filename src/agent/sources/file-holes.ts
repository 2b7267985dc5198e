// The holes of a sparse file. Node has no lseek, so perl (perl-base is Essential on Debian) walks SEEK_DATA and SEEK_HOLE
// over our descriptor, which it gets as its stdin, and prints one hole per line. Only a hint: without perl, without the
// file system's support, or when perl hangs or fails, the answer just ends.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { HoldfastError } from '../../util/errors.ts';
import type { Range } from './source.ts';

/** A shorter hole is read faster (20 GB/s cached) than it is told. */
const MIN_HOLE_BYTES = 65_536;
/** So many lines are 60 GiB of 64 KiB holes at least; what comes after is read. */
const MAX_HOLES = 1_000_000;
const LINE_BYTES = 64;

// 4 = SEEK_HOLE, 3 = SEEK_DATA; ENXIO (6) = only a hole follows.
const WALK = `
my ($size, $min, $left) = @ARGV;
my $at = 0;
while ($at < $size && $left > 0) {
  my $hole = sysseek(STDIN, $at, 4);
  last unless defined $hole;
  $hole += 0;
  last if $hole >= $size;
  my $data = sysseek(STDIN, $hole, 3);
  last if !defined $data && $!+0 != 6;
  $data = $size if !defined $data || $data > $size;
  last if $data <= $hole;
  if ($data - $hole >= $min) { print "$hole ", $data - $hole, "\\n"; $left--; }
  $at = $data;
}`;

export interface HolesOptions {
  sizeBytes: number;
  signal: AbortSignal;
  /** Longest wait for the next lines; default 60 s. */
  timeoutMs?: number;
  /** Default `perl`. */
  perl?: string;
}

/** Ascending. Throws `aborted` only. Breaking off the loop ends the helper. */
export async function* fileHoles(
  path: string,
  { sizeBytes, signal, timeoutMs = 60_000, perl = 'perl' }: HolesOptions,
): AsyncIterable<Range> {
  const fd = openSync(path, 'r');
  const args = ['-e', WALK, String(sizeBytes), String(MIN_HOLE_BYTES), String(MAX_HOLES)];
  const child = spawn(perl, args, { stdio: [fd, 'pipe', 'ignore'] });
  closeSync(fd);
  const kill = () => child.kill('SIGKILL');
  // Without perl: the pipe ends at once.
  child.on('error', () => {});
  signal.addEventListener('abort', kill, { once: true });
  const output = child.stdout![Symbol.asyncIterator]();
  try {
    let rest = '';
    for (;;) {
      const timer = setTimeout(kill, timeoutMs);
      const next = await output.next().finally(() => clearTimeout(timer));
      if (signal.aborted)
        throw new HoldfastError('aborted', `${path}: aborted while its holes were looked up`, { cause: signal.reason });
      if (next.done) return;
      const lines = (rest + String(next.value)).split('\n');
      rest = lines.pop()!;
      if (rest.length > LINE_BYTES) return;
      for (const line of lines) {
        const [offset, length] = line.split(' ').map(Number);
        yield { offset, length };
      }
    }
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
    child.stdout!.destroy();
  }
}

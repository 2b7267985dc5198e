// A program that must not outlive us: setpriv (util-linux) asks the kernel to signal it when the thread that started it ends, which our kill -9 does as well;
// sh in between checks that we were not gone before the kernel had been asked.

const CHECK = '[ "$PPID" = "$0" ] || exit 1; exec "$@"';

/** The command that runs `command` so. `signal` is what it gets: KILL, or TERM where it has something to put away. */
export function liveWithUs(setpriv: string, command: readonly string[], signal: 'KILL' | 'TERM' = 'KILL'): string[] {
  return [setpriv, '--pdeathsig', signal, '/bin/sh', '-c', CHECK, String(process.pid), ...command];
}

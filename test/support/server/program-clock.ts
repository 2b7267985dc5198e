// The clock of programs that a test starts, by libfaketime, which is there. It goes on as fast as any.
import { spawnSync } from 'node:child_process';

/** Each program that is started now sees this time first, and is in UTC. */
export function setProgramClock(ms: number): void {
  Object.assign(process.env, clockAt(ms));
}

/** All programs that are started now are so far ahead, whole seconds, and in UTC. */
export function shiftProgramClock(ms: number): void {
  Object.assign(process.env, clockOf(`+${Math.round(ms / 1000)}s`));
}

/** The environment of a program that sees this time first. */
export function clockAt(ms: number): Record<string, string> {
  return clockOf(`@${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}`);
}

function clockOf(spec: string): Record<string, string> {
  return { LD_PRELOAD: library(), TZ: 'UTC', FAKETIME: spec, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

let found: string | undefined;
const TRIES = 5;

/** Where the library is says its wrapper alone. That refuses to run under the number of a process which was killed under it. */
function library(): string {
  for (let tries = 0; found === undefined && tries < TRIES; tries++) {
    const { status, stdout } = spawnSync('faketime', ['-f', '+0s', 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' });
    if (status === 0) found = stdout.trim();
  }
  if (found === undefined) throw new Error('faketime does not say where its library is');
  return found;
}

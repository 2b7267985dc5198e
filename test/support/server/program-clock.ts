// The clock of programs that a test starts from now on, by libfaketime, which is there. It goes on as fast as any.
import { execFileSync } from 'node:child_process';

/** Each program that is started now sees this time first, and is in UTC. */
export function setProgramClock(ms: number): void {
  setClock(`@${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}`);
}

/** All programs that are started now are so far ahead, whole seconds, and in UTC. */
export function shiftProgramClock(ms: number): void {
  setClock(`+${Math.round(ms / 1000)}s`);
}

function setClock(spec: string): void {
  process.env.LD_PRELOAD ??= execFileSync('faketime', ['-f', '+0s', 'printenv', 'LD_PRELOAD'], {
    encoding: 'utf8',
  }).trim();
  process.env.TZ = 'UTC';
  process.env.FAKETIME = spec;
  process.env.FAKETIME_DONT_FAKE_MONOTONIC = '1';
}

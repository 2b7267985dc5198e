// Tells the service manager that the server answers (sd_notify(3)), so that `systemctl start` returns then, or fails when it never does.
import { run } from '../util/run.ts';
import type { Log } from './log.ts';

const TIMEOUT_MS = 10_000;

/** Nothing outside of a unit with `Type=notify`. It is systemd's own program that tells it, for Node has no datagram sockets of Unix. Never throws. */
export async function tellReady(log: Log, env: NodeJS.ProcessEnv = process.env): Promise<void> {
  if (!env.NOTIFY_SOCKET) return;
  try {
    await run('systemd-notify', ['--ready'], { timeoutMs: TIMEOUT_MS });
  } catch (error) {
    log.warn({ reason: (error as Error).message }, 'systemd could not be told that the server runs');
  }
}

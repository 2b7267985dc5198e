// Lets the disk serve everybody else first: idle I/O priority for this process, by ionice (util-linux, essential in Debian; Node has no
// such call). Threads take the priority of the one that starts them, so it is set before there are any. Only the BFQ scheduler heeds it.
import { HoldfastError } from '../util/errors.ts';
import { run } from '../util/run.ts';

/** Whether it could be set. Without it the work is the same. */
export async function useIdleIo(signal: AbortSignal): Promise<boolean> {
  try {
    await run('ionice', ['-c3', '-p', String(process.pid)], { signal, timeoutMs: 5000 });
    return true;
  } catch (error) {
    if (error instanceof HoldfastError && error.code !== 'aborted') return false;
    throw error;
  }
}

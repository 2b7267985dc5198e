// Lets the disk serve others first: a lower I/O priority for this process, by ionice (util-linux, essential in Debian; Node has no
// such call). Threads take the priority of the one that starts them, so it is set before there are any. Only the BFQ scheduler heeds it.
import { HoldfastError } from '../util/errors.ts';
import { run } from '../util/run.ts';

/** Whether it could be set. Without it the work is the same. */
export async function useIdleIo(signal: AbortSignal): Promise<boolean> {
  return await useIoPriority(IDLE, signal);
}

/** vzdump's number for being served when nobody else wants to be. */
const IDLE = 8;

/** As vzdump's `ionice`: 0 (first) to 7 among the others, 8 for idle; of the main thread, or of these. Whether it could be set. */
export async function useIoPriority(
  level: number,
  signal: AbortSignal,
  threads: readonly number[] = [process.pid],
): Promise<boolean> {
  const how = level === IDLE ? ['-c3'] : ['-c2', '-n', String(level)];
  try {
    await run('ionice', [...how, '-p', ...threads.map(String)], { signal, timeoutMs: 5000 });
    return true;
  } catch (error) {
    if (error instanceof HoldfastError && error.code !== 'aborted') return false;
    throw error;
  }
}

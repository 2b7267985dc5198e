// Programs and file system calls that work on a storage, with their failures in our words: a full disk, an image that QEMU has open.
import { HoldfastError, systemCode } from '../../util/errors.ts';
import { type RunOptions, type RunResult, run } from '../../util/run.ts';

/** For what changes metadata alone: seconds, on a disk that is busy. */
const TIMEOUT_MS = 600_000;

/** `what` is what the call works on, for the message. @throws `disk-full`, `guest-running`, `target-failed`, and what `run` throws. */
export async function runTool(
  command: 'qemu-img' | 'qemu-io' | 'btrfs',
  args: readonly string[],
  what: string,
  options: RunOptions = {},
): Promise<RunResult> {
  try {
    return await run(command, args, { timeoutMs: TIMEOUT_MS, failure: 'target-failed', ...options });
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'target-failed') throw error;
    const words = String(error.data.stderr).trim();
    if (/Failed to get (shared )?"\w+" lock/.test(words))
      throw new HoldfastError('guest-running', `${what} is in use by a QEMU process; stop the guest first`, {
        cause: error,
      });
    if (/No space left on device|Disk quota exceeded/.test(words)) throw diskFull(what, error);
    throw new HoldfastError('target-failed', `${what}: ${command} failed: ${words}`, {
      cause: error,
      data: error.data,
    });
  }
}

/** The error for a call of the file system that failed on `what`; errors of ours pass. */
export function storageFailure(what: string, error: unknown): unknown {
  const code = systemCode(error);
  if (error instanceof HoldfastError || code === undefined) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(what, error);
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new HoldfastError('not-found', `${what} does not exist`, { cause: error });
  return new HoldfastError('write-failed', `${what} cannot be changed: ${(error as Error).message}`, {
    cause: error,
    data: { code },
  });
}

/** @throws `aborted`. Asked before work that is not broken off once it has begun. */
export function refuseAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new HoldfastError('aborted', `${what}: aborted`, { cause: signal.reason });
}

function diskFull(what: string, cause: unknown): HoldfastError {
  return new HoldfastError(
    'disk-full',
    `${what}: the storage has no space left; free volumes or choose another storage`,
    {
      cause,
    },
  );
}

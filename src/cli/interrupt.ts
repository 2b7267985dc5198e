// Ctrl-C and termination become an AbortSignal; a second Ctrl-C ends the process at once, which is safe too.
import { HoldfastError } from '../util/errors.ts';

export function interruptSignal(): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(
      new HoldfastError(
        'aborted',
        `stopped by ${name}; nothing half done is left, and the next run continues where this one stopped`,
      ),
    );
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    stop: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

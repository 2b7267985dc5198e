// The minute at which the scheduler looks. In UTC, where no minute is skipped or comes twice; what is due the scheduler works out itself.
import { schedule } from 'node-cron';

/** Calls `tick`, which does not throw, at the beginning of each minute. What is returned ends that. */
export function everyMinute(tick: () => void, onError: (error: unknown) => void): () => void {
  const task = schedule('* * * * *', tick, { timezone: 'Etc/UTC' });
  return () => {
    Promise.resolve(task.destroy()).catch(onError);
  };
}

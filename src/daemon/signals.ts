// What the system tells a server: to end (SIGTERM, Ctrl-C), to end at once (the same again), and to look at its certificate anew (SIGHUP).

export interface ServerSignals {
  /** Resolves with the name of the first signal to end. */
  readonly ending: Promise<NodeJS.Signals>;
  /** Aborted by the second: nothing is waited for any more. A third ends the process. */
  readonly hurry: AbortSignal;
  stop(): void;
}

const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'];
const EXIT_KILLED = 130;

export function serverSignals(onReload: () => void): ServerSignals {
  const hurry = new AbortController();
  let count = 0;
  let begin = (_: NodeJS.Signals): void => {};
  const ending = new Promise<NodeJS.Signals>((resolve) => {
    begin = resolve;
  });
  const onEnding = (name: NodeJS.Signals): void => {
    count++;
    if (count === 1) begin(name);
    else if (count === 2) hurry.abort(new Error(`${name} came again`));
    else process.exit(EXIT_KILLED);
  };
  for (const name of ENDING) process.on(name, onEnding);
  process.on('SIGHUP', onReload);
  return {
    ending,
    hurry: hurry.signal,
    stop: () => {
      for (const name of ENDING) process.off(name, onEnding);
      process.off('SIGHUP', onReload);
    },
  };
}

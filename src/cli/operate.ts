// Runs an operation on a datastore: in this process when the store is free, else in the one that holds it, or at a server.
import { setTimeout } from 'node:timers/promises';
import { askHolder } from '../datastore/control/control-client.ts';
import type { Operation, Work } from '../datastore/control/operation.ts';
import { Layout } from '../datastore/layout.ts';
import { isServerAddress } from '../transport/client/repository-address.ts';
import { HoldfastError } from '../util/errors.ts';
import { interruptSignal } from './interrupt.ts';
import { withHeldDatastore } from './local-store.ts';
import { Progress } from './progress.ts';
import { withRemoteStore } from './remote-store.ts';
import { type CommonOptions, repositoryText, warn } from './repository.ts';
import type { Surroundings } from './surroundings.ts';

/** A holder that just starts takes so long to listen; one that never does is a program without a control socket. */
const HOLDER_TIMEOUT_MS = 5000;
const RETRY_EVERY_MS = 100;

/**
 * Runs an operation with `workers` threads of its own, or those of the holder.
 * @throws what the operation throws; `datastore-locked` when another process holds the store and does not listen.
 */
export async function operate<Argument, Result>(
  options: CommonOptions,
  workers: number,
  operation: Operation<Argument, Result>,
  argument: Argument,
): Promise<Result> {
  const interrupt = interruptSignal();
  const progress = new Progress(process.stderr, options.outputFormat !== 'text');
  const work: Work = {
    signal: interrupt.signal,
    onProgress: (what, bytesDone, bytesTotal) => progress.update(what, bytesDone, bytesTotal),
    warn: (message) => {
      progress.end();
      warn(message);
    },
  };
  try {
    return isServerAddress(repositoryText(options))
      ? await there(options, operation, argument, work)
      : await here(repositoryText(options), workers, operation, argument, work);
  } finally {
    progress.end();
    interrupt.stop();
  }
}

/** The same where an order has it done: with the secret, the signal and the log of that. */
export async function operateWithin<Argument, Result>(
  options: CommonOptions,
  workers: number,
  operation: Operation<Argument, Result>,
  argument: Argument,
  { env, signal, onProgress, warn }: Pick<Surroundings, 'env' | 'signal' | 'onProgress' | 'warn'>,
): Promise<Result> {
  const work: Work = { signal, onProgress, warn };
  return isServerAddress(repositoryText(options))
    ? await there(options, operation, argument, work, env)
    : await here(repositoryText(options), workers, operation, argument, work);
}

async function there<Argument, Result>(
  options: CommonOptions,
  operation: Operation<Argument, Result>,
  argument: Argument,
  work: Work,
  env?: NodeJS.ProcessEnv,
): Promise<Result> {
  return await withRemoteStore(
    options,
    work.signal,
    async (store) => (await store.operate(operation, argument, work)) as Result,
    env,
  );
}

async function here<Argument, Result>(
  root: string,
  workers: number,
  operation: Operation<Argument, Result>,
  argument: Argument,
  work: Work,
): Promise<Result> {
  const layout = new Layout(root);
  let silentSince = performance.now();
  for (;;) {
    let isOpen = false;
    try {
      const { result } = await withHeldDatastore(root, workers, async (store) => {
        isOpen = true;
        return await operation.run(store, argument, work);
      });
      return result;
    } catch (error) {
      const isLocked = error instanceof HoldfastError && error.code === 'datastore-locked' && !isOpen;
      if (!isLocked) throw error;
      const asked = performance.now();
      const answer = await askHolder(layout, operation, argument, work);
      if (answer !== undefined) return answer.result;
      // Somebody did listen, and has ended: that is no silence.
      if (performance.now() - asked > RETRY_EVERY_MS) silentSince = performance.now();
      if (performance.now() - silentSince > HOLDER_TIMEOUT_MS) throw error;
    }
    await setTimeout(RETRY_EVERY_MS, undefined, { signal: work.signal });
  }
}

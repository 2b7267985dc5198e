// N worker threads behind one typed call: `pool.call(thread, method, argument)`. Each thread handles the calls of one lane one at a time, in order; where a call
// waits, those of other lanes go on. Errors of the catalogue cross the thread boundary with code and data.
import { isMainThread, type MessagePort, parentPort, Worker } from 'node:worker_threads';
import { type PlainError, plainError, reviveError } from './plain-error.ts';

interface Request {
  readonly call: number;
  readonly method: string;
  readonly argument: unknown;
  readonly lane: number;
}

type Reply = { readonly call: number } & ({ readonly result: unknown } | { readonly error: PlainError });
type Message = Reply | { readonly event: string; readonly argument: unknown };

/** Methods that a worker answers, each from one argument to one result; they are told the call's lane. */
export type Handlers = Record<string, (argument: never, lane?: number) => unknown>;

interface Pending {
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/** What work on several threads needs of a pool; one thread may stand in for it. */
export type Threads = Pick<WorkerPool, 'size' | 'call'>;

export class WorkerPool {
  readonly size: number;
  readonly #workers: Worker[];
  readonly #pending = new Map<number, Pending>();
  readonly #onEvent: (event: string, argument: unknown) => void;
  #nextCall = 1;
  #failure: Error | undefined;

  private constructor(workers: Worker[], onEvent: (event: string, argument: unknown) => void) {
    this.size = workers.length;
    this.#workers = workers;
    this.#onEvent = onEvent;
    for (const worker of workers) {
      worker.on('message', (message: Message) => this.#receive(message));
      worker.on('error', (error) => this.#fail(error));
      worker.on('exit', (code) => this.#fail(new Error(`a worker thread ended with code ${code}`)));
    }
  }

  /** Starts `size` threads of the program at `entry`. `onEvent` receives what workers announce with `announce`. */
  static start(entry: URL, size: number, onEvent: (event: string, argument: unknown) => void = () => {}): WorkerPool {
    const workers = Array.from({ length: size }, () => new Worker(entry, { execArgv: [] }));
    return new WorkerPool(workers, onEvent);
  }

  /** Why no call is answered any more: a thread ended, or the pool is closed. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Runs a method in one thread; lane 0 is where everything runs that needs no other. */
  call<Result>(
    thread: number,
    method: string,
    argument: unknown,
    transfer: (ArrayBuffer | MessagePort)[] = [],
    lane = 0,
  ): Promise<Result> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const call = this.#nextCall++;
    return new Promise<Result>((resolve, reject) => {
      this.#pending.set(call, { resolve: resolve as (result: unknown) => void, reject });
      (this.#workers[thread] as Worker).postMessage({ call, method, argument, lane } satisfies Request, transfer);
    });
  }

  /** Runs a method in every thread; the first failure is thrown once all have ended. */
  async all<Result>(method: string, argument: unknown): Promise<Result[]> {
    const outcomes = await Promise.allSettled(
      this.#workers.map((_, thread) => this.call<Result>(thread, method, argument)),
    );
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<Awaited<Result>>).value) as Result[];
  }

  /** Ends the threads in the middle of whatever they do; calls that wait are rejected. */
  async close(): Promise<void> {
    this.#fail(new Error('the worker pool is closed'));
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #receive(message: Message): void {
    if ('event' in message) {
      this.#onEvent(message.event, message.argument);
      return;
    }
    const pending = this.#pending.get(message.call);
    this.#pending.delete(message.call);
    if ('error' in message) pending?.reject(reviveError(message.error));
    else pending?.resolve(message.result);
  }

  /** The first says why: a thread that dies of an error tells that and then its end. No call waits any more when the second comes. */
  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

/**
 * The other end: answers calls with `handlers`, those of a lane one after the other. Call once in a worker's entry file. `settle` runs after each call that
 * went well and before its answer leaves.
 */
export function serveCalls(handlers: Handlers, settle: () => void = () => {}): void {
  if (isMainThread || parentPort === null) throw new Error('serveCalls runs in a worker thread');
  const port = parentPort;
  const turns: Promise<void>[] = [];
  port.on('message', (request: Request) => {
    const { lane } = request;
    turns[lane] = (turns[lane] ?? Promise.resolve()).then(async () => {
      try {
        const handler = handlers[request.method];
        if (handler === undefined) throw new Error(`no method ${request.method}`);
        const result: unknown = await handler(request.argument as never, lane);
        settle();
        port.postMessage({ call: request.call, result } satisfies Reply);
      } catch (error) {
        port.postMessage({ call: request.call, error: plainError(error) } satisfies Reply);
      }
    });
  });
}

/** Tells the pool's owner something that nobody asked for. */
export function announce(event: string, argument: unknown): void {
  parentPort?.postMessage({ event, argument } satisfies Message);
}

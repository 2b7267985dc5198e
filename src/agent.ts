// Composition root of the agent: one host that backs up and restores what its server orders, within what its own configuration allows.
import { randomBytes } from 'node:crypto';
import type { AgentConfig } from './agent/service/agent-config.ts';
import { keepConnected } from './agent/service/control-client.ts';
import { describeMachine } from './agent/service/machine.ts';
import { OrderDesk, type RunOrder } from './agent/service/order-desk.ts';
import type { Log } from './daemon/log.ts';
import { HoldfastError } from './util/errors.ts';

/** What orders that run get to end, and then their ends to be told, when the agent is stopped. */
const END_GRACE_MS = 30_000;

export interface AgentParts {
  readonly config: AgentConfig;
  readonly stateDirectory: string;
  /** Of this program. */
  readonly version: string;
  readonly log: Log;
  readonly runOrder: RunOrder;
  /** Aborts when `config` has another server or token than it had; asked for anew after that. */
  changed?(): AbortSignal;
  /** Ends the agent. */
  readonly ending: Promise<unknown>;
  /** Ends it without waiting for orders. */
  readonly hurry: AbortSignal;
}

/** Runs until it is told to end, or until there is nothing that could be waited for. */
export async function runAgent(parts: AgentParts): Promise<void> {
  const { config, log, runOrder, ending, hurry } = parts;
  const desk = new OrderDesk(async (order, report) => {
    log.info({ order: order.kind, store: order.store }, 'an order begins');
    try {
      return await runOrder(order, report);
    } catch (error) {
      if (error instanceof HoldfastError) log.warn({ order: order.kind, reason: error.message }, 'an order failed');
      else log.error({ err: error }, 'this is a bug in Holdfast');
      throw error;
    }
  });
  const stop = new AbortController();
  let lastReason = '';
  const kept = keepConnected(
    {
      config,
      machine: await describeMachine(parts.stateDirectory),
      instance: randomBytes(16).toString('hex'),
      version: parts.version,
      desk,
      ...(parts.changed !== undefined && { changed: parts.changed }),
      onConnected: () => {
        lastReason = '';
        log.info({ node: config.node, server: `${config.host}:${config.port}` }, 'the agent is connected');
      },
      onFailed: (error, waitMs) => {
        const { message, code } = error as Error & { code?: unknown };
        const again = { reason: message, code, retrySeconds: Math.round(waitMs / 1000) };
        // The same again is for whoever looks closer.
        if (message === lastReason) log.debug(again, 'the server is not reached');
        else log.warn(again, 'the server is not reached');
        lastReason = message;
      },
    },
    stop.signal,
  );
  await ending;
  log.info({ orders: desk.runningCount }, 'the agent is stopping');
  const hurried = new Promise<void>((resolve) => {
    if (hurry.aborted) resolve();
    hurry.addEventListener('abort', () => resolve(), { once: true });
  });
  await Promise.race([desk.end('the agent was stopped', END_GRACE_MS), hurried]);
  stop.abort(new HoldfastError('aborted', 'the agent was stopped'));
  await kept;
  log.info('the agent has stopped');
}

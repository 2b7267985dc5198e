// Where everything in the server says what happened: an event finds its targets, is put into the queue, and is sent from there.
import { randomUUID } from 'node:crypto';
import { boundedEvent, type NotifyEvent } from './event.ts';
import { route } from './matcher.ts';
import type { NotifyConfig } from './notify-config.ts';
import type { Delivery, QueueStore } from './queue-store.ts';
import { Sender, type SenderParts } from './sender.ts';
import { partlyRefused } from './target.ts';
import type { Secrets } from './target-config.ts';
import { openTarget } from './targets/open-target.ts';

/** A test must not keep whoever asked for it waiting longer. */
const TEST_LIMIT_MS = 60_000;
export const MAX_LISTED = 1000;

export interface NotificationsParts {
  readonly config: NotifyConfig;
  readonly secretsOf: (target: string) => Secrets;
  readonly queue: QueueStore;
  /** Of this machine. */
  readonly node: string;
  readonly clock: () => number;
  readonly warn: SenderParts['warn'];
  readonly rules?: SenderParts['rules'];
}

export class Notifications {
  readonly #parts: NotificationsParts;
  readonly #sender: Sender;

  constructor(parts: NotificationsParts) {
    this.#parts = parts;
    const { config, secretsOf, queue, clock, warn, rules } = parts;
    this.#sender = new Sender({
      queue,
      clock,
      warn,
      ...(rules !== undefined && { rules }),
      target: (name) => {
        const found = config.targets().find((each) => each.name === name);
        return found?.enabled ? openTarget(found, secretsOf(name)) : undefined;
      },
    });
  }

  get config(): NotifyConfig {
    return this.#parts.config;
  }

  get node(): string {
    return this.#parts.node;
  }

  start(): void {
    this.#sender.start();
  }

  /** Says what happened, and to which targets it goes. When it returns the event survives a restart. @throws what the state database throws. */
  tell(event: NotifyEvent): readonly string[] {
    const wanted = queueEvent(this.#parts, event);
    // Not before whoever says it has ended its transaction.
    setImmediate(() => this.#sender.kick());
    return wanted;
  }

  /** Sends a message to a target at once, past matchers and queue, also to one that is switched off. @throws what the target throws, `not-found`. */
  async test(name: string, signal?: AbortSignal): Promise<void> {
    const { config, secretsOf } = this.#parts;
    await testTarget({ config, secretsOf, node: this.#parts.node, clock: this.#parts.clock }, name, signal);
  }

  /** Newest first. */
  waiting(): readonly Delivery[] {
    return this.#parts.queue.list(MAX_LISTED);
  }

  async close(): Promise<void> {
    await this.#sender.close();
  }
}

/** Puts an event into the queue of the targets that it finds, and says which; the server of the queue sends it. For commands too. @throws what the state database throws. */
export function queueEvent(
  { config, queue, clock, warn }: Pick<NotificationsParts, 'config' | 'queue' | 'clock' | 'warn'>,
  event: NotifyEvent,
): readonly string[] {
  const told = boundedEvent(event);
  const enabled = new Set(config.targets().flatMap(({ name, enabled: isOn }) => (isOn ? [name] : [])));
  const { targets, problems } = route(told, config.matchers());
  for (const problem of problems) warn(problem, { subject: told.subject });
  const wanted = targets.filter((name) => enabled.has(name));
  const dropped = queue.add(told, `holdfast-${randomUUID()}`, wanted, clock());
  if (dropped > 0) warn('the queue of notifications is full; the oldest went unsent', { dropped });
  return wanted;
}

/** For commands too, beside a server. @throws `not-found`, what the target throws, `target-failed` when some receivers refused. */
export async function testTarget(
  { config, secretsOf, node, clock }: Pick<NotificationsParts, 'config' | 'secretsOf' | 'node' | 'clock'>,
  name: string,
  signal: AbortSignal = AbortSignal.timeout(TEST_LIMIT_MS),
): Promise<void> {
  const target = openTarget(config.target(name), secretsOf(name));
  const event: NotifyEvent = {
    type: 'test',
    severity: 'info',
    time: Math.floor(clock() / 1000),
    node,
    subject: 'Test notification',
    text: `This is a test of the notification target '${name}'.`,
    fields: {},
  };
  const { refused } = await target.send({ id: `holdfast-${randomUUID()}`, event }, signal);
  if (refused.length > 0) throw partlyRefused(name, refused);
}

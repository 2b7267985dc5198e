// Hosts with an agent in memory, behind the interface that the API asks for: every name is a node that takes every order.
import type { NodeCalls, TextReceiver } from '../../src/api/services.ts';
import type { Actor, NewEnrolment } from '../../src/nodes/enrolments.ts';
import type { AgentCaller, NodeDetails } from '../../src/nodes/nodes.ts';
import type { AuthId } from '../../src/schema/auth-id.ts';
import type { TextSocket } from '../../src/transport/control/control-line.ts';
import type { Order } from '../../src/transport/control/orders.ts';
import { HoldfastError } from '../../src/util/errors.ts';
import type { FakeTasks } from './fake-tasks.ts';

export const AGENT = 'agents@pbs!agent-web1' as AuthId;

export class FakeNodes implements NodeCalls {
  readonly asked: { readonly call: string; readonly argument: unknown }[] = [];
  /** Texts that arrived on control connections, and what was sent back on each. */
  readonly texts: string[] = [];
  readonly sockets: TextSocket[] = [];
  readonly callers: AgentCaller[] = [];
  readonly #tasks: FakeTasks;

  constructor(tasks: FakeTasks) {
    this.#tasks = tasks;
  }

  readonly enrolments = {
    add: (actor: Actor, wish: { node: string }): NewEnrolment => {
      this.asked.push({ call: 'add', argument: { actor, ...wish } });
      return { node: wish.node, tokenid: AGENT, secret: 'one-time', expireMs: 1_800_000_000_000 };
    },
    redeem: ({ node, secret }: { node: string; secret: string }): { tokenid: AuthId; value: string } => {
      this.asked.push({ call: 'redeem', argument: node });
      if (secret !== 'one-time') throw new HoldfastError('not-authenticated', `the enrolment of ${node} is refused`);
      return { tokenid: AGENT, value: 'token-secret' };
    },
  };

  list(): NodeDetails[] {
    return [this.get('web1')];
  }

  get(name: string): NodeDetails {
    return {
      name,
      status: 'online',
      authId: AGENT,
      version: '0.1',
      hostName: 'web1.example',
      machineId: 'ab'.repeat(32),
      address: '192.0.2.7',
      enrolledMs: 1_700_000_000_000,
      lastContactMs: 1_700_000_100_000,
      enrolmentExpiresMs: undefined,
      orders: 0,
    };
  }

  remove(_actor: Actor, name: string): void {
    this.asked.push({ call: 'remove', argument: name });
  }

  order(name: string, order: Order, authId: AuthId): { upid: string } {
    this.asked.push({ call: 'order', argument: { name, order } });
    return this.#tasks.start({ type: `agent${order.kind}`, id: name, authId }, async () => undefined);
  }

  requireAgent(_name: string, authId: AuthId): void {
    if (authId !== AGENT) throw new HoldfastError('permission-denied', 'permission check failed');
  }

  accept(_name: string, caller: AgentCaller, socket: TextSocket): TextReceiver {
    this.callers.push(caller);
    this.sockets.push(socket);
    return {
      received: (text) => {
        this.texts.push(text);
        socket.send(`heard ${text}`);
      },
      closed: (reason) => this.texts.push(`closed: ${reason}`),
    };
  }
}

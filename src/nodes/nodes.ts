// The hosts of this server: who has enrolled, whose agent is connected, and what it was last heard of. One agent a node: a second one with the
// same identity is refused while the first answers, and so is another machine with a copied one.
import type { AuthId } from '../schema/auth-id.ts';
import type { TextSocket } from '../transport/control/control-line.ts';
import { type Heartbeat, PROTOCOL_VERSION, USUAL_HEARTBEAT } from '../transport/control/limits.ts';
import type { AgentMessage, Hello } from '../transport/control/messages.ts';
import type { Order } from '../transport/control/orders.ts';
import { HoldfastError } from '../util/errors.ts';
import { AgentConnection } from './agent-connection.ts';
import { type Actor, type Enrolments, noSuchNode } from './enrolments.ts';
import type { NodeOrders } from './node-orders.ts';
import type { NodeRecord, NodeStore } from './node-store.ts';
import type { OrderResult, OrderTask } from './placed-order.ts';

const WRITE_CONTACT_EVERY_MS = 60_000;
const ANSWER_MS = 5000;

export type NodeStatus = 'online' | 'offline' | 'unknown';

/** A node as lists show it. Times are Unix milliseconds. */
export interface NodeDetails {
  readonly name: string;
  /** `unknown`: its agent has not enrolled yet. */
  readonly status: NodeStatus;
  readonly authId: AuthId | undefined;
  readonly version: string;
  readonly hostName: string;
  readonly machineId: string;
  readonly address: string;
  readonly enrolledMs: number | undefined;
  readonly lastContactMs: number | undefined;
  /** Of an enrolment that waits for its agent. */
  readonly enrolmentExpiresMs: number | undefined;
  /** Orders that run or wait there. */
  readonly orders: number;
}

export interface NodesParts {
  readonly store: NodeStore;
  readonly enrolments: Enrolments;
  readonly orders: NodeOrders;
  readonly clock: () => number;
  /** Of this program. */
  readonly version: string;
  readonly heartbeat?: Heartbeat;
  /** What the agent that is connected gets to answer, before another one takes its place. */
  readonly answerMs?: number;
  readonly report: (message: string, detail: Readonly<Record<string, unknown>>) => void;
}

/** Who asks for a control connection, and how to see that the right to it is still there. */
export interface AgentCaller {
  readonly authId: AuthId;
  readonly address: string;
  isStillGood(): Promise<boolean>;
}

export class Nodes {
  readonly enrolments: Enrolments;
  readonly #parts: NodesParts;
  /** Agents that were let in. */
  readonly #online = new Map<string, AgentConnection>();
  /** All connections, those that have not said hello too. */
  readonly #open = new Set<AgentConnection>();
  readonly #heardMs = new Map<string, number>();
  #isClosed = false;

  constructor(parts: NodesParts) {
    this.#parts = parts;
    this.enrolments = parts.enrolments;
  }

  get onlineCount(): number {
    return this.#online.size;
  }

  /** By name. */
  list(): NodeDetails[] {
    const { store } = this.#parts;
    const waiting = new Map(store.enrolments().map(({ node, expireMs }) => [node, expireMs]));
    const enrolled = store.list().map((record) => this.#details(record, waiting.get(record.name)));
    const names = new Set(enrolled.map(({ name }) => name));
    const pending = [...waiting]
      .filter(([name]) => !names.has(name))
      .map(([name, expireMs]) => pendingNode(name, expireMs));
    return [...enrolled, ...pending].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws `not-found`. */
  get(name: string): NodeDetails {
    const { store } = this.#parts;
    const [record, enrolment] = [store.find(name), store.enrolment(name)];
    if (record !== undefined) return this.#details(record, enrolment?.expireMs);
    if (enrolment === undefined) throw noSuchNode(name);
    return pendingNode(name, enrolment.expireMs);
  }

  /** Removes a node and its token, and ends its connection. @throws `not-found`, `permission-denied`. */
  remove(actor: Actor, name: string): void {
    this.enrolments.remove(actor, name);
    this.#parts.orders.forget(name);
    this.#online.get(name)?.refuse(new HoldfastError('not-found', `node ${name} was removed from the server`));
    this.#heardMs.delete(name);
  }

  /** Gives an order as a task. @throws `not-found`, `node-offline`, `too-many`. */
  order(name: string, order: Order, authId: AuthId): { readonly upid: string } {
    if (this.#parts.store.find(name) === undefined) this.get(name);
    return this.#parts.orders.start(name, order, authId);
  }

  /** Gives an order as a part of a task that runs. @throws as `order`, and what the order does. */
  async orderWithin(name: string, order: Order, task: OrderTask): Promise<OrderResult> {
    if (this.#parts.store.find(name) === undefined) this.get(name);
    return await this.#parts.orders.within(name, order, task);
  }

  /** The node whose agent somebody is. @throws `permission-denied` for anybody else, whether the node is there or not. */
  requireAgent(name: string, authId: AuthId): NodeRecord {
    const record = this.#parts.store.find(name);
    if (record?.authId === authId) return record;
    throw new HoldfastError('permission-denied', 'permission check failed', { data: { authId, node: name } });
  }

  /** Takes a connection that was upgraded; what arrives on it goes to what is returned. */
  accept(name: string, caller: AgentCaller, socket: TextSocket): AgentConnection | undefined {
    if (this.#isClosed) {
      socket.terminate();
      return undefined;
    }
    const { version, orders, heartbeat = USUAL_HEARTBEAT } = this.#parts;
    const connection = new AgentConnection(socket, {
      node: name,
      address: caller.address,
      version,
      heartbeat,
      isStillGood: () => caller.isStillGood(),
      admit: (each, hello) => this.#admit(each, hello, caller.authId),
      onWelcome: (each, hello) => {
        this.#parts.report('an agent is connected', { node: name, address: caller.address, version: hello.version });
        orders.connected(each, hello);
      },
      onMessage: (each, message) => this.#onMessage(each, message),
      onBeat: (each) => this.#heard(each.node),
      onClosed: (each, reason) => this.#onClosed(each, reason),
    });
    this.#open.add(connection);
    return connection;
  }

  /** Ends all connections; agents come back when a server runs again. */
  close(): void {
    this.#isClosed = true;
    for (const connection of [...this.#open]) connection.cut('the server stops');
  }

  async #admit(connection: AgentConnection, hello: Hello, authId: AuthId): Promise<void> {
    const { store, clock } = this.#parts;
    const { node } = connection;
    if (hello.protocol !== PROTOCOL_VERSION)
      throw new HoldfastError(
        'protocol-failed',
        `the agent of ${node} speaks version ${hello.protocol} of the control protocol and this server version ${PROTOCOL_VERSION}: install the same Holdfast at both`,
      );
    for (;;) {
      const record = this.requireAgent(node, authId);
      if (record.machineId !== hello['machine-id']) throw foreign(node, record, hello, connection.address);
      const other = this.#online.get(node);
      if (other === undefined || other.isClosed) break;
      if (other.instance === hello.instance) {
        // Its own line of before, which is dead and does not know it.
        other.cut('its agent has connected anew');
        break;
      }
      if (await other.isAlive(this.#parts.answerMs ?? ANSWER_MS)) throw duplicate(node, record, other.address);
      if (this.#online.get(node) === other) other.cut('it does not answer, and its agent is there anew');
    }
    if (connection.isClosed) return;
    this.#online.set(node, connection);
    const nowMs = clock();
    this.#heardMs.set(node, nowMs);
    store.heard(node, {
      version: hello.version,
      hostName: hello['host-name'],
      bootId: hello['boot-id'],
      address: connection.address,
      lastContactMs: nowMs,
    });
  }

  #onMessage(connection: AgentConnection, message: AgentMessage): void {
    const { orders } = this.#parts;
    if (message.type === 'event') orders.event(connection, message.order, message.event);
    else if (message.type === 'progress')
      orders.progress(connection, message.order, message.what, message['bytes-done'], message['bytes-total']);
  }

  /** Written now and then only; what is newer is in memory. */
  #heard(node: string): void {
    const { store, clock } = this.#parts;
    const nowMs = clock();
    this.#heardMs.set(node, nowMs);
    const record = store.find(node);
    if (record !== undefined && nowMs - record.lastContactMs >= WRITE_CONTACT_EVERY_MS)
      store.heard(node, { ...record, lastContactMs: nowMs });
  }

  #onClosed(connection: AgentConnection, reason: string): void {
    this.#open.delete(connection);
    const { node } = connection;
    if (this.#online.get(node) !== connection) return;
    this.#online.delete(node);
    this.#parts.report('an agent is gone', { node, reason });
    this.#parts.orders.disconnected(connection);
  }

  #details(record: NodeRecord, enrolmentExpiresMs: number | undefined): NodeDetails {
    const { name, authId, version, hostName, machineId, address, enrolledMs, lastContactMs } = record;
    return {
      name,
      status: this.#online.has(name) ? 'online' : 'offline',
      authId,
      version,
      hostName,
      machineId,
      address,
      enrolledMs,
      lastContactMs: Math.max(lastContactMs, this.#heardMs.get(name) ?? 0),
      enrolmentExpiresMs,
      orders: this.#parts.orders.countOf(name),
    };
  }
}

function pendingNode(name: string, enrolmentExpiresMs: number): NodeDetails {
  const nothing = { authId: undefined, version: '', hostName: '', machineId: '', address: '', orders: 0 };
  return { name, status: 'unknown', ...nothing, enrolledMs: undefined, lastContactMs: undefined, enrolmentExpiresMs };
}

function duplicate(node: string, { hostName }: NodeRecord, address: string): HoldfastError {
  return new HoldfastError(
    'node-duplicate',
    `another agent with the identity of node ${node} is connected, from ${address} (${hostName}): stop one of the two; a host that was copied gets an identity of its own with holdfast node add and holdfast agent enroll`,
    { data: { node, address } },
  );
}

function foreign(node: string, { hostName }: NodeRecord, hello: Hello, address: string): HoldfastError {
  return new HoldfastError(
    'node-foreign',
    `this machine (${hello['host-name']}, ${address}) is not the one that enrolled as node ${node} (${hostName}): a copied host gets a name of its own with holdfast node add; when it has taken the place of the old one, holdfast node add ${node} --renew on the server, and holdfast agent enroll here`,
    { data: { node } },
  );
}

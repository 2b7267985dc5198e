// Orders to agents: each is a task from when it is given until the agent says how it ended, or is gone for too long. A line that breaks in
// between changes nothing: the agent goes on, and tells what was not heard.
import { KINDS_UNSAID } from '../transport/control/known-orders.ts';
import { CONTROL_LIMITS } from '../transport/control/limits.ts';
import type { Hello, OrderEvent, ServerMessage } from '../transport/control/messages.ts';
import { boundedText } from '../transport/control/messages.ts';
import type { Order } from '../transport/control/orders.ts';
import { HoldfastError } from '../util/errors.ts';
import { type OrderResult, type OrderTask, PlacedOrder } from './placed-order.ts';

/** What runs and waits at one agent; the agent itself runs four at once. */
const MAX_ORDERS_A_NODE = 20;
/** What an agent gets to come back before its orders count as failed. */
export const AGENT_GRACE_MS = 60_000;
/** As JSON: with what stands around it, it fits into a message. */
const MAX_ORDER_BYTES = CONTROL_LIMITS.messageBytes - 1024;
/** Orders that were given up while their agent was away: it is told to stop them when it comes back. */
const MAX_ABANDONED = 1000;

const TASK_TYPES = {
  backup: 'agentbackup',
  restore: 'agentrestore',
  'vm-backup': 'agentbackup',
  'vm-restore': 'agentrestore',
} as const satisfies Record<Order['kind'], string>;

/** A line to an agent that has said who it is. */
export interface AgentLine {
  readonly node: string;
  readonly instance: string;
  send(message: ServerMessage): void;
}

interface OrderTasks {
  start(
    request: { readonly type: string; readonly id: string | null; readonly authId: string },
    work: (task: OrderTask) => Promise<OrderResult>,
  ): { readonly upid: string };
}

export interface OrderParts {
  readonly tasks: OrderTasks;
  readonly graceMs?: number;
  /** Told of what belongs to no task of this server. */
  readonly report: (message: string, detail: Readonly<Record<string, unknown>>) => void;
}

export class NodeOrders {
  readonly #parts: OrderParts;
  readonly #lines = new Map<string, AgentLine>();
  readonly #hellos = new WeakMap<AgentLine, Hello>();
  readonly #placed = new Map<string, PlacedOrder>();
  readonly #abandoned = new Set<string>();
  #isStopping = false;

  constructor(parts: OrderParts) {
    this.#parts = parts;
  }

  /** Orders that run or wait at a node. */
  countOf(node: string): number {
    return this.#of(node).length;
  }

  /** Gives an order, as a task. @throws `node-offline`, `protocol-failed` where the agent does not take it, `too-many`, `too-large`, what the start of a task throws. */
  start(node: string, order: Order, authId: string): { readonly upid: string } {
    const line = this.#lineFor(node, order);
    const what = whatOf(order);
    const where = order.ns === undefined || order.ns === '' ? what : `${order.ns}/${what}`;
    const request = { type: TASK_TYPES[order.kind], id: `${order.store}:${node}:${where}`, authId };
    return this.#parts.tasks.start(request, async (task) => await this.#run(line, order, task));
  }

  /** Gives an order as a part of a task that runs. @throws as `start`, and what the order does. */
  async within(node: string, order: Order, task: OrderTask): Promise<OrderResult> {
    return await this.#run(this.#lineFor(node, order), order, task);
  }

  #lineFor(node: string, order: Order): AgentLine {
    const line = this.#lines.get(node);
    if (line === undefined)
      throw new HoldfastError(
        'node-offline',
        `the agent of node ${node} is not connected: see that holdfast agent runs there and reaches this server`,
        { data: { node } },
      );
    const { kinds = KINDS_UNSAID, version } = this.#hellos.get(line) as Hello;
    if (!kinds.some((kind) => kind === order.kind))
      throw new HoldfastError(
        'protocol-failed',
        `the agent of node ${node} (Holdfast ${version}) does not take orders of the kind ${order.kind}: install the Holdfast of this server there`,
        { data: { node, kind: order.kind } },
      );
    if (this.countOf(node) >= MAX_ORDERS_A_NODE)
      throw new HoldfastError(
        'too-many',
        `${MAX_ORDERS_A_NODE} orders run or wait at node ${node}, which is the limit; wait until one ends`,
      );
    if (Buffer.byteLength(JSON.stringify(order)) > MAX_ORDER_BYTES)
      throw new HoldfastError(
        'too-large',
        `an order takes ${MAX_ORDER_BYTES} bytes at most: give it fewer paths or patterns`,
      );
    return line;
  }

  /** An agent has said hello: what it has of orders is attached again. */
  connected(line: AgentLine, hello: Hello): void {
    const { node, instance } = line;
    const { orders } = hello;
    this.#hellos.set(line, hello);
    this.#lines.set(node, line);
    const there = new Set(orders);
    for (const placed of this.#of(node)) {
      if (placed.instance !== instance) placed.fail(restarted(node));
      else if (placed.isTaken && !there.has(placed.id)) placed.fail(forgotten(node));
      else {
        if (!there.has(placed.id)) line.send({ type: 'order', id: placed.id, order: placed.order });
        placed.found();
      }
    }
    for (const id of orders) {
      if (this.#placed.has(id)) continue;
      if (this.#abandoned.delete(id)) line.send({ type: 'abort', order: id, reason: 'its task was aborted' });
      else this.#parts.report('an order goes on that no task waits for', { node, order: id });
    }
  }

  disconnected(line: AgentLine): void {
    if (this.#lines.get(line.node) !== line) return;
    this.#lines.delete(line.node);
    if (this.#isStopping) return;
    for (const placed of this.#of(line.node)) placed.lost(this.#parts.graceMs ?? AGENT_GRACE_MS);
  }

  event(line: AgentLine, id: string, event: OrderEvent): void {
    const placed = this.#placed.get(id);
    if (placed?.node === line.node) placed.event(event);
    else if (event.event === 'end')
      this.#parts.report('an order ended that no task waits for', {
        node: line.node,
        order: id,
        outcome: event.failure === undefined ? 'ok' : event.failure.message,
      });
    line.send({ type: 'ack', order: id, seq: event.seq });
  }

  progress(line: AgentLine, id: string, what: string, bytesDone: number, bytesTotal: number | undefined): void {
    const placed = this.#placed.get(id);
    if (placed?.node === line.node) placed.progress(what, bytesDone, bytesTotal);
  }

  /** The node is there no more: nobody comes back. */
  forget(node: string): void {
    for (const placed of this.#of(node))
      placed.fail(new HoldfastError('node-offline', `node ${node} was removed`, { data: { node } }));
  }

  /** The server ends: tasks end with it, and agents go on with what they have. */
  stop(): void {
    this.#isStopping = true;
  }

  async #run(line: AgentLine, order: Order, task: OrderTask): Promise<OrderResult> {
    task.signal.throwIfAborted();
    const placed: PlacedOrder = new PlacedOrder(line, order, task, (reason) => this.#tellAbort(placed, reason));
    this.#placed.set(placed.id, placed);
    try {
      task.log(`${order.kind} at node ${line.node}, order ${placed.id}`);
      // The line may be another one by now, or none.
      const now = this.#lines.get(line.node);
      if (now?.instance === line.instance) now.send({ type: 'order', id: placed.id, order });
      else if (now !== undefined) placed.fail(restarted(line.node));
      else placed.lost(this.#parts.graceMs ?? AGENT_GRACE_MS);
      return await placed.done;
    } catch (error) {
      if (placed.abortReason !== undefined && !placed.hasEnded && !this.#isStopping) this.#abandon(placed.id);
      throw error;
    } finally {
      this.#placed.delete(placed.id);
    }
  }

  #tellAbort(placed: PlacedOrder, reason: string): void {
    if (this.#isStopping) {
      placed.fail(new HoldfastError('aborted', 'the server is stopping; the agent goes on by itself'));
      return;
    }
    const line = this.#lines.get(placed.node);
    if (line !== undefined) line.send({ type: 'abort', order: placed.id, reason: boundedText(reason) });
    else placed.fail(new HoldfastError('aborted', `${reason}; the agent is away, and is told when it comes back`));
  }

  #abandon(id: string): void {
    if (this.#abandoned.size >= MAX_ABANDONED) {
      const [oldest] = this.#abandoned;
      this.#abandoned.delete(oldest as string);
    }
    this.#abandoned.add(id);
  }

  #of(node: string): PlacedOrder[] {
    return [...this.#placed.values()].filter((placed) => placed.node === node);
  }
}

/** The group, or the snapshot. */
function whatOf(order: Order): string {
  if (order.kind === 'backup') return order.group;
  return order.kind === 'vm-backup' ? `vm/${order.vmid}` : order.snapshot;
}

function restarted(node: string): HoldfastError {
  return new HoldfastError(
    'task-failed',
    `the agent of node ${node} was started anew, and the order ended with the one before; give it again: a backup goes on with what was stored`,
    { data: { node } },
  );
}

function forgotten(node: string): HoldfastError {
  return new HoldfastError('task-failed', `the agent of node ${node} does not know the order any more; give it again`, {
    data: { node },
  });
}

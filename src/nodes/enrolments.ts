// Enrolments: one-time secrets with which the agent of a host gets its API token. A secret is shown once, kept as a hash, and good for one use
// within its time. Every refusal is the same.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type AuthId, tokenIdOf, tokenNameOf, type UserId, userOf } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { NodeStore } from './node-store.ts';

/** Names that are taken by the server's own machine in any case. */
const OWN_NAMES = ['localhost'];
/** A token's name takes 64 characters. */
const NODE_NAME = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,56}[A-Za-z0-9])?$/;
const MAX_NODES = 4096;
const SECRET_BYTES = 24;
export const DEFAULT_LIFETIME_MS = 3600_000;
const MAX_LIFETIME_MS = 30 * 24 * 3600_000;

/** Who asks for a change, and from where. */
export interface Actor {
  readonly authId: AuthId;
  readonly address: string;
}

interface TokenAccess {
  /** @throws `permission-denied` for whoever may not make tokens of the user. */
  requireTokenMaking(actor: Actor, user: UserId): void;
  createToken(
    actor: Actor,
    user: UserId,
    name: string,
    fields?: { comment?: string },
  ): { readonly tokenid: AuthId; readonly value: string };
  updateToken(actor: Actor, user: UserId, name: string, changes: { regenerate: boolean }): string | undefined;
  deleteToken(actor: Actor, user: UserId, name: string): void;
}

export interface EnrolmentParts {
  readonly store: NodeStore;
  readonly access: TokenAccess;
  readonly tokens: { find(user: UserId, name: string): unknown };
  readonly throttle: {
    admit(user: string, address: string): { succeeded(): void; failed(): void; dropped(): void };
  };
  readonly audit: { append(event: NodeEvent): void };
  /** Takes those that anybody can cause. */
  readonly failures: { note(event: NodeEvent): void };
  readonly transactions: { atomically<T>(work: () => T): T };
  readonly clock: () => number;
  /** Names of the server's own machine. */
  readonly ownNames: readonly string[];
}

export interface NodeEvent {
  readonly action: 'node-add' | 'node-enrol' | 'node-remove' | 'enrolment-refused';
  readonly by: string;
  readonly address: string;
  readonly object: string;
  readonly detail?: Readonly<Record<string, string | number | boolean>>;
}

export interface EnrolmentWish {
  readonly node: string;
  /** Who asks, without one. */
  readonly user?: UserId | undefined;
  readonly lifetimeMs?: number | undefined;
  /** The node is there already, and gets a new secret and machine; the rights of its token stay. */
  readonly renew?: boolean | undefined;
  /** The agent is in the server's own process, which has one of the names that others may not. */
  readonly isOwn?: boolean;
}

export interface NewEnrolment {
  readonly node: string;
  /** The token that its agent will have: rights can be given to it now. */
  readonly tokenid: AuthId;
  /** Nothing can show it again. */
  readonly secret: string;
  readonly expireMs: number;
}

export interface Redemption {
  readonly node: string;
  readonly secret: string;
  readonly machineId: string;
  readonly hostName: string;
  readonly address: string;
}

export class Enrolments {
  readonly #parts: EnrolmentParts;

  constructor(parts: EnrolmentParts) {
    this.#parts = parts;
  }

  /** @throws `permission-denied`, `bad-name`, `exists` for a node that is there unless `renew`, `not-found` with it, `too-many`. */
  add(actor: Actor, wish: EnrolmentWish): NewEnrolment {
    const { node, user, lifetimeMs = DEFAULT_LIFETIME_MS, renew = false, isOwn = false } = wish;
    const { store, access, transactions, clock } = this.#parts;
    if (!isOwn) this.#checkName(node);
    const known = store.find(node);
    if (known !== undefined && !renew)
      throw new HoldfastError(
        'exists',
        `node ${node} is enrolled already; to enrol its machine anew, or another one in its place, ask with --renew`,
      );
    if (known === undefined && renew) throw noSuchNode(node);
    const userid = known === undefined ? (user ?? userOf(actor.authId)) : userOf(known.authId);
    if (user !== undefined && user !== userid)
      throw new HoldfastError(
        'bad-argument',
        `node ${node} acts as ${userid}: remove it first to give it another user`,
      );
    access.requireTokenMaking(actor, userid);
    if (!(lifetimeMs > 0 && lifetimeMs <= MAX_LIFETIME_MS))
      throw new HoldfastError('bad-argument', 'an enrolment lasts for up to 30 days');
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    const expireMs = clock() + lifetimeMs;
    const tokenid = tokenIdOf(userid, tokenNameFor(node));
    transactions.atomically(() => {
      if (store.list().length + store.enrolments().length >= MAX_NODES)
        throw new HoldfastError('too-many', `there are ${MAX_NODES} nodes, and no more can be; remove some`);
      store.putEnrolment({ node, userid, secretHash: hashOf(secret), expireMs, createdBy: actor.authId });
      this.#audit('node-add', actor, node, { user: userid, renew });
    });
    return { node, tokenid, secret, expireMs };
  }

  /** Uses an enrolment up: the node is there from now on. @throws `not-authenticated` whatever is wrong, `login-throttled`. */
  redeem({ node, secret, machineId, hostName, address }: Redemption): {
    readonly tokenid: AuthId;
    readonly value: string;
  } {
    const { store, throttle, transactions, clock } = this.#parts;
    const attempt = throttle.admit(`node ${node}`, address);
    try {
      const made = transactions.atomically(() => {
        const enrolment = store.enrolment(node);
        // The same work for a node that nobody knows.
        const isRight = timingSafeEqual(
          hashOf(secret),
          enrolment?.secretHash ?? hashOf(randomBytes(8).toString('hex')),
        );
        if (enrolment === undefined || !isRight || enrolment.expireMs <= clock()) throw refused(node);
        const actor = { authId: enrolment.createdBy, address };
        const token = this.#token(actor, enrolment.userid, node);
        store.deleteEnrolment(node);
        const nowMs = clock();
        const said = { version: '', bootId: '', address, hostName, lastContactMs: nowMs };
        store.put({ name: node, authId: token.tokenid, machineId, enrolledMs: nowMs, ...said });
        this.#audit('node-enrol', actor, node, { token: token.tokenid, host: hostName });
        return token;
      });
      attempt.succeeded();
      return made;
    } catch (error) {
      if (!(error instanceof HoldfastError)) {
        attempt.dropped();
        throw error;
      }
      attempt.failed();
      const detail = { reason: error.code };
      this.#parts.failures.note({ action: 'enrolment-refused', by: node, address, object: node, detail });
      // Whoever made it may have lost the right to: that is no business of a host.
      throw refused(node);
    }
  }

  /** Removes a node, its token with its rights, and an enrolment that waits. @throws `not-found`, `permission-denied`. */
  remove(actor: Actor, node: string): void {
    const { store, access, tokens, transactions } = this.#parts;
    transactions.atomically(() => {
      const known = store.find(node);
      if (known === undefined && store.enrolment(node) === undefined) throw noSuchNode(node);
      store.deleteEnrolment(node);
      if (known !== undefined) {
        const [user, name] = [userOf(known.authId), tokenNameOf(known.authId) ?? ''];
        store.delete(node);
        if (tokens.find(user, name) !== undefined) access.deleteToken(actor, user, name);
      }
      this.#audit('node-remove', actor, node, {});
    });
  }

  /** A new token, or a new secret of the one that the node had. */
  #token(actor: Actor, user: UserId, node: string): { tokenid: AuthId; value: string } {
    const { access, tokens } = this.#parts;
    const name = tokenNameFor(node);
    if (tokens.find(user, name) === undefined)
      return access.createToken(actor, user, name, { comment: `agent of node ${node}` });
    return { tokenid: tokenIdOf(user, name), value: access.updateToken(actor, user, name, { regenerate: true }) ?? '' };
  }

  #checkName(node: string): void {
    if ([...OWN_NAMES, ...this.#parts.ownNames].includes(node))
      throw new HoldfastError('exists', `${node} is the name of the server itself; give the node another one`);
    if (!NODE_NAME.test(node))
      throw new HoldfastError(
        'bad-name',
        `${JSON.stringify(node.slice(0, 80))} is no name of a node: letters, digits, '.' and '-', at most 58, such as the host's name`,
      );
  }

  #audit(
    action: NodeEvent['action'],
    { authId, address }: Actor,
    object: string,
    detail: NonNullable<NodeEvent['detail']>,
  ): void {
    this.#parts.audit.append({ action, by: authId, address, object, detail });
  }
}

export function tokenNameFor(node: string): string {
  return `agent-${node}`;
}

export function noSuchNode(node: string): HoldfastError {
  return new HoldfastError(
    'not-found',
    `no such node '${node.slice(0, 64)}'; holdfast node list shows those that there are`,
  );
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function refused(node: string): HoldfastError {
  return new HoldfastError(
    'not-authenticated',
    `the enrolment of ${node} is refused: its secret is wrong, was used, or has expired; make a new one with holdfast node add ${node} on the server (with --renew when the node is there already)`,
  );
}

// The agent in the server's own process: a node like any other, `localhost`, that enrols itself. Its token is an ordinary one of root@pam, with
// rights to the datastores and nothing else, so that it can be seen, narrowed and taken away.
import { type AuthId, ROOT_USER } from '../schema/auth-id.ts';
import { LOCAL_NODE } from '../schema/names.ts';
import type { Enrolments } from './enrolments.ts';
import type { NodeStore } from './node-store.ts';

export interface LocalParts {
  readonly enrolments: Enrolments;
  readonly store: Pick<NodeStore, 'find'>;
  /** Gives a token its rights. */
  allow(tokenid: AuthId): void;
}

/** Whether the server knows a node of its own process. */
export function hasLocalNode({ store }: Pick<LocalParts, 'store'>): boolean {
  return store.find(LOCAL_NODE) !== undefined;
}

/** A token for the agent in this process. One that is enrolled anew keeps the rights that it has by then. */
export function enrolLocal(
  parts: LocalParts,
  machine: { readonly machineId: string; readonly hostName: string },
): { readonly tokenid: AuthId; readonly value: string } {
  const actor = { authId: ROOT_USER, address: '' };
  const renew = hasLocalNode(parts);
  const { secret } = parts.enrolments.add(actor, { node: LOCAL_NODE, user: ROOT_USER, renew, isOwn: true });
  const { machineId, hostName } = machine;
  const made = parts.enrolments.redeem({ node: LOCAL_NODE, secret, machineId, hostName, address: '' });
  if (!renew) parts.allow(made.tokenid);
  return made;
}

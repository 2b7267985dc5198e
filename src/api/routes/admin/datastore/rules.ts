// Access rules of what lies in a datastore: a privilege on its namespace, or a lesser one for the owner of the group.
import type { Privilege } from '../../../../auth/privileges.ts';
import type { InPath, PrivilegeRule } from '../../../method.ts';
import { aclPath } from '../../../snapshots/owned-groups.ts';

interface OfNamespace {
  readonly store: string;
  readonly ns?: string | undefined;
}

/** On the datastore itself. */
export function onStore(...anyOf: Privilege[]) {
  return { onPath: ({ store = '' }: InPath): PrivilegeRule => ({ path: aclPath({ store }), anyOf }) };
}

/** On the namespace of a group; `orOwner` is enough for who owns the group. */
export function onContent(anyOf: readonly Privilege[], orOwner: Privilege) {
  return (where: OfNamespace): PrivilegeRule => ({ path: aclPath(where), anyOf, orOwner });
}

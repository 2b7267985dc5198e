// /admin/datastore/{store}/namespace: namespaces of a datastore.
import { Type } from 'typebox';
import { type Namespace, namespaceDepth, parseNamespace } from '../../../../schema/names.ts';
import { denied } from '../../../check-access.ts';
import { ApiError } from '../../../dialect/failure.ts';
import { callerOf, defineMethod, type PrivilegeRule } from '../../../method.ts';
import { aclPath, changing, openStore } from '../../../snapshots/owned-groups.ts';
import { NONE_REMOVED, removeSnapshots } from '../../../snapshots/remove-snapshots.ts';
import { MaxDepth, NamespaceText, StoreName } from '../../parameters.ts';
import { Removed } from './groups.ts';

const PATH = '/admin/datastore/{store}/namespace';
const SEEING = ['Datastore.Audit', 'Datastore.Backup', 'Datastore.Read'] as const;

function parentOf(ns: string): string {
  return ns.split('/').slice(0, -1).join('/');
}

export const NAMESPACE_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description: 'The namespaces below one, itself included, in which the caller may see anything.',
    access: { auth: true },
    parameters: Type.Object({
      store: StoreName,
      parent: Type.Optional(NamespaceText),
      'max-depth': MaxDepth,
    }),
    returns: Type.Array(Type.Object({ ns: Type.String() })),
    handler: async (call, { store, parent, 'max-depth': maxDepth }) => {
      const { permissions } = call.services;
      const caller = callerOf(call);
      const isSeen = (ns: string): boolean =>
        SEEING.some((privilege) => permissions.hasBelow(caller, aclPath({ store, ns }), privilege));
      if (!isSeen(parent ?? '')) throw denied(caller, { path: aclPath({ store, ns: parent }), anyOf: SEEING }, true);
      const open = await openStore(call, store);
      const top = parseNamespace(parent ?? '');
      if (!call.views.of(open.store).hasNamespace(top))
        throw new ApiError(400, 'not-found', `no such namespace '${top}' in datastore '${store}'`);
      const all = await open.store.groups.namespaces(top);
      return all
        .filter((ns) => namespaceDepth(ns) - namespaceDepth(top) <= maxDepth && isSeen(ns))
        .map((ns) => ({ ns }));
    },
  }),
  defineMethod({
    method: 'POST',
    path: PATH,
    description: 'Makes a namespace below another; one that is there already stays as it is. Answers its full name.',
    access: ({ store, parent }): PrivilegeRule => ({
      path: aclPath({ store, ns: parent }),
      anyOf: ['Datastore.Modify'],
    }),
    parameters: Type.Object({
      store: StoreName,
      name: Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*$', maxLength: 32 }),
      parent: Type.Optional(NamespaceText),
    }),
    returns: Type.String(),
    handler: async (call, { store, name, parent }) => {
      const ns = parseNamespace(parent === undefined || parent === '' ? name : `${parent}/${name}`);
      const open = await openStore(call, store);
      await changing(store, () => open.store.keeping.createNamespace(ns));
      return ns;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: PATH,
    description: 'Removes a namespace and all below it; with `delete-groups` also the snapshots in them.',
    access: ({ store, ns }): PrivilegeRule => ({
      path: aclPath({ store, ns: parentOf(ns) }),
      anyOf: ['Datastore.Modify'],
    }),
    parameters: Type.Object({
      store: StoreName,
      ns: NamespaceText,
      'delete-groups': Type.Boolean({ default: false }),
      'error-on-protected': Type.Boolean({ default: true, description: 'Fail when something had to stay.' }),
    }),
    returns: Removed,
    handler: async (call, { store: name, ns: text, 'delete-groups': deleteGroups, 'error-on-protected': strict }) => {
      const ns = parseNamespace(text);
      if (ns === '') throw new ApiError(400, 'bad-argument', 'cannot delete root namespace!');
      const { store } = await openStore(call, name);
      const view = call.views.of(store);
      const sum = { ...NONE_REMOVED };
      if (!view.hasNamespace(ns)) return sum;
      await changing(name, async () => {
        // The innermost first, so that each is empty when its turn comes.
        for (const each of (await store.groups.namespaces(ns)).reverse()) {
          const isEmpty = await clear(each, deleteGroups);
          if (isEmpty) await store.keeping.removeNamespace(each);
        }
      });
      if (sum['protected-snapshots'] > 0 && strict)
        throw new ApiError(400, 'protected', 'namespace only partially deleted due to protected snapshots', { ...sum });
      return sum;

      /** Whether nothing is left that keeps the namespace. */
      async function clear(each: Namespace, isWanted: boolean): Promise<boolean> {
        const groups = (await view.groups(each)).filter(({ times }) => times.length > 0);
        if (groups.length > 0 && !isWanted)
          throw new ApiError(400, 'exists', `namespace '${each}' has backup groups; remove them, or set delete-groups`);
        let isEmpty = true;
        for (const group of groups) {
          const removed = await removeSnapshots(store, each, group, call.signal);
          sum['removed-groups'] += removed['removed-groups'];
          sum['removed-snapshots'] += removed['removed-snapshots'];
          sum['protected-snapshots'] += removed['protected-snapshots'];
          if (removed['protected-snapshots'] > 0) isEmpty = false;
        }
        return isEmpty && (await store.groups.namespaces(each)).length === 1;
      }
    },
  }),
];

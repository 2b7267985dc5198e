// /admin/datastore/{store}/groups and /group-notes, /change-owner: groups of snapshots.
import { Type } from 'typebox';
import { Count } from '../../../../schema/answer-parts.ts';
import { parseAuthId, tokenNameOf, userOf } from '../../../../schema/auth-id.ts';
import { denied } from '../../../check-access.ts';
import { ApiError } from '../../../dialect/failure.ts';
import { callerOf, defineMethod } from '../../../method.ts';
import { aclPath, changing, findGroup, findNamespace, visibleGroups } from '../../../snapshots/owned-groups.ts';
import { removeSnapshots } from '../../../snapshots/remove-snapshots.ts';
import { AuthIdText, BackupId, BackupType, Notes, Nothing, OfGroup, OfNamespace } from '../../parameters.ts';
import { onContent } from './rules.ts';

const PATH = '/admin/datastore/{store}/groups';
const GroupRow = Type.Object({
  'backup-type': BackupType,
  'backup-id': BackupId,
  'last-backup': Type.Integer(),
  'backup-count': Count,
  files: Type.Array(Type.String()),
  owner: Type.Optional(Type.String()),
  comment: Type.Optional(Type.String()),
});
export const Removed = Type.Object({
  'removed-groups': Count,
  'removed-snapshots': Count,
  'protected-snapshots': Count,
});

export const GROUP_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description:
      'The groups of a namespace that have snapshots; with Datastore.Backup alone those that the caller owns.',
    access: onContent(['Datastore.Audit'], 'Datastore.Backup'),
    parameters: Type.Object(OfNamespace),
    returns: Type.Array(GroupRow),
    handler: async (call, where) => {
      const found = await findNamespace(call, where);
      const rows = [];
      for (const { name, owner, notes, times } of await visibleGroups(call, found)) {
        const last = times.at(-1);
        if (last === undefined) continue;
        const [type, id = ''] = name.split('/');
        const newest = await found.view.row({ ns: found.ns, group: name, time: last });
        const [comment = ''] = notes.split('\n', 1);
        rows.push({
          'backup-type': type as 'vm',
          'backup-id': id,
          'last-backup': last,
          'backup-count': times.length,
          files: newest?.files.map(({ filename }) => filename) ?? [],
          ...(owner === undefined ? {} : { owner }),
          ...(comment === '' ? {} : { comment }),
        });
      }
      return rows;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: PATH,
    description: 'Removes all snapshots of a group, but those that are protected or locked.',
    access: onContent(['Datastore.Modify'], 'Datastore.Prune'),
    parameters: Type.Object({
      ...OfGroup,
      'error-on-protected': Type.Boolean({ default: true, description: 'Fail when something had to stay.' }),
    }),
    returns: Removed,
    handler: async (call, where) => {
      const found = await findGroup(call, where);
      const removed = await changing(where.store, () =>
        removeSnapshots(found.open.store, found.ns, found.group, call.signal),
      );
      if (removed['protected-snapshots'] > 0 && where['error-on-protected'])
        throw new ApiError(400, 'protected', 'group only partially deleted due to protected snapshots', { ...removed });
      return removed;
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/admin/datastore/{store}/group-notes',
    description: 'The notes of a group.',
    access: onContent(['Datastore.Audit'], 'Datastore.Backup'),
    parameters: Type.Object(OfGroup),
    returns: Type.String(),
    handler: async (call, where) => (await findGroup(call, where)).group.notes,
  }),
  defineMethod({
    method: 'PUT',
    path: '/admin/datastore/{store}/group-notes',
    description: 'Sets the notes of a group.',
    access: onContent(['Datastore.Modify'], 'Datastore.Backup'),
    parameters: Type.Object({ ...OfGroup, notes: Notes }),
    returns: Nothing,
    handler: async (call, { notes, ...where }) => {
      const { open, ns, group } = await findGroup(call, where);
      await changing(where.store, () => open.store.keeping.changeGroup(ns, group.name, { notes }));
      return null;
    },
  }),
  defineMethod({
    method: 'POST',
    path: '/admin/datastore/{store}/change-owner',
    description: 'Gives a group to another owner. Users may move their own groups between themselves and their tokens.',
    access: onContent(['Datastore.Modify'], 'Datastore.Backup'),
    parameters: Type.Object({ ...OfGroup, 'new-owner': AuthIdText }),
    returns: Nothing,
    handler: async (call, { 'new-owner': text, ...where }) => {
      const owner = parseAuthId(text);
      const { open, ns, group } = await findGroup(call, where);
      const caller = callerOf(call);
      const isOwnMove = tokenNameOf(caller) === undefined && userOf(owner) === caller;
      if (call.onlyOwn && !isOwnMove && owner !== caller)
        throw denied(caller, { path: aclPath(where), anyOf: ['Datastore.Modify'] }, true);
      await changing(where.store, () => open.store.keeping.changeGroup(ns, group.name, { owner }));
      return null;
    },
  }),
];

// /admin/datastore/{store}/snapshots, /files, /notes and /protected.
import { Type } from 'typebox';
import { Count } from '../../../../schema/answer-parts.ts';
import { parseGroup } from '../../../../schema/names.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import { ApiError } from '../../../dialect/failure.ts';
import { defineMethod } from '../../../method.ts';
import { changing, findNamespace, findSnapshot, visibleGroups } from '../../../snapshots/owned-groups.ts';
import type { FileRow, SnapshotRow } from '../../../snapshots/snapshot-row.ts';
import type { Verdict } from '../../../snapshots/verdicts.ts';
import { BackupId, BackupTime, BackupType, Notes, Nothing, OfNamespace, OfSnapshot } from '../../parameters.ts';
import { onContent } from './rules.ts';

const PATH = '/admin/datastore/{store}/snapshots';
const File = Type.Object({
  filename: Type.String(),
  size: Type.Optional(Count),
  'crypt-mode': Type.Optional(Type.Enum(['none', 'encrypt'])),
});
const Snapshot = Type.Object({
  'backup-type': BackupType,
  'backup-id': BackupId,
  'backup-time': BackupTime,
  files: Type.Array(File),
  protected: Type.Boolean(),
  owner: Type.Optional(Type.String()),
  comment: Type.Optional(Type.String()),
  fingerprint: Type.Optional(Type.String()),
  size: Type.Optional(Count),
  verification: Type.Optional(
    Type.Object({ state: Type.Enum(['ok', 'failed']), upid: Type.Optional(Type.String({ description: 'The task.' })) }),
  ),
});
const seen = onContent(['Datastore.Audit'], 'Datastore.Backup');

export const SNAPSHOT_METHODS = [
  defineMethod({
    method: 'GET',
    path: PATH,
    description:
      'The snapshots of a namespace, by group and time; with Datastore.Backup alone those that the caller owns. With `start` or `limit` a page, and `total` beside it.',
    access: seen,
    parameters: Type.Object({
      ...OfNamespace,
      'backup-type': Type.Optional(BackupType),
      'backup-id': Type.Optional(BackupId),
      start: Type.Optional(Type.Integer({ minimum: 0, description: 'So many are left out at the beginning.' })),
      limit: Type.Optional(Type.Integer({ minimum: 1, description: 'No more than so many.' })),
    }),
    returns: Type.Array(Snapshot),
    handler: async (call, { start, limit, ...where }) => {
      const found = await findNamespace(call, where);
      const groups = (await visibleGroups(call, found)).filter(({ name }) => isWanted(name, where));
      const total = groups.reduce((sum, { times }) => sum + times.length, 0);
      if (start !== undefined || limit !== undefined) call.attach('total', total);
      const first = start ?? 0;
      const last = limit === undefined ? total : first + limit;
      const verdictOf = await call.verdicts.of(where.store, found.open.store, call.services.tasks);
      const rows: ReturnType<typeof snapshotOf>[] = [];
      let place = 0;
      for (const { name, owner, times } of groups) {
        const from = Math.max(0, first - place);
        const to = Math.min(times.length, last - place);
        place += times.length;
        for (const time of times.slice(from, Math.max(from, to))) {
          call.signal.throwIfAborted();
          const row = await found.view.row({ ns: found.ns, group: name, time });
          if (row !== undefined) rows.push(snapshotOf(name, time, owner, row, verdictOf(row.session)));
        }
        if (place >= last) break;
      }
      return rows;
    },
  }),
  defineMethod({
    method: 'DELETE',
    path: PATH,
    description: 'Removes a snapshot.',
    access: onContent(['Datastore.Modify'], 'Datastore.Prune'),
    parameters: Type.Object(OfSnapshot),
    returns: Nothing,
    handler: async (call, where) => {
      try {
        const { open, name } = await findSnapshot(call, where);
        await changing(where.store, () => open.store.forget(name));
        return null;
      } catch (error) {
        throw notDeleted(error);
      }
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/admin/datastore/{store}/files',
    description: 'The files of a snapshot.',
    access: onContent(['Datastore.Audit', 'Datastore.Read'], 'Datastore.Backup'),
    parameters: Type.Object(OfSnapshot),
    returns: Type.Array(File),
    handler: async (call, where) => {
      const { view, name } = await findSnapshot(call, where);
      return ((await view.row(name))?.files ?? []).map(fileOf);
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/admin/datastore/{store}/notes',
    description: 'The notes of a snapshot.',
    access: seen,
    parameters: Type.Object(OfSnapshot),
    returns: Type.String(),
    handler: async (call, where) => {
      const { view, name } = await findSnapshot(call, where);
      return (await view.row(name))?.notes ?? '';
    },
  }),
  defineMethod({
    method: 'PUT',
    path: '/admin/datastore/{store}/notes',
    description: 'Sets the notes of a snapshot.',
    access: onContent(['Datastore.Modify'], 'Datastore.Backup'),
    parameters: Type.Object({ ...OfSnapshot, notes: Notes }),
    returns: Nothing,
    handler: async (call, { notes, ...where }) => {
      const { open, name } = await findSnapshot(call, where);
      await changing(where.store, () => open.store.updateSnapshot(name, { notes }, !call.onlyOwn));
      return null;
    },
  }),
  defineMethod({
    method: 'GET',
    path: '/admin/datastore/{store}/protected',
    description: 'Whether a snapshot is protected from removal.',
    access: seen,
    parameters: Type.Object(OfSnapshot),
    returns: Type.Boolean(),
    handler: async (call, where) => {
      const { view, name } = await findSnapshot(call, where);
      return (await view.row(name))?.protected ?? false;
    },
  }),
  defineMethod({
    method: 'PUT',
    path: '/admin/datastore/{store}/protected',
    description: 'Protects a snapshot from removal, or ends that.',
    access: onContent(['Datastore.Modify'], 'Datastore.Backup'),
    parameters: Type.Object({ ...OfSnapshot, protected: Type.Boolean() }),
    returns: Nothing,
    handler: async (call, { protected: isProtected, ...where }) => {
      const { open, name } = await findSnapshot(call, where);
      await changing(where.store, () => open.store.updateSnapshot(name, { protected: isProtected }, !call.onlyOwn));
      return null;
    },
  }),
];

interface Wanted {
  readonly 'backup-type'?: string;
  readonly 'backup-id'?: string;
}

function isWanted(group: string, { 'backup-type': type, 'backup-id': id }: Wanted): boolean {
  const [ofType, ofId] = parseGroup(group).split('/');
  return (type === undefined || type === ofType) && (id === undefined || id === ofId);
}

function snapshotOf(
  group: string,
  time: number,
  owner: string | undefined,
  row: SnapshotRow,
  verification: Verdict | undefined,
) {
  const [type, id = ''] = group.split('/');
  const { files, size, protected: isProtected, comment, fingerprint } = row;
  return {
    'backup-type': type as 'vm',
    'backup-id': id,
    'backup-time': time,
    files: files.map(fileOf),
    protected: isProtected,
    ...(owner === undefined ? {} : { owner }),
    ...(comment === undefined ? {} : { comment }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
    ...(size === undefined ? {} : { size }),
    ...(verification === undefined ? {} : { verification }),
  };
}

function fileOf(file: FileRow) {
  return { ...file };
}

function notDeleted(error: unknown): unknown {
  if (error instanceof HoldfastError && error.code === 'protected')
    return new ApiError(400, 'protected', 'failed to delete snapshot - cannot remove protected snapshot');
  if (error instanceof ApiError && error.code === 'not-found' && error.message.startsWith('no such snapshot'))
    return new ApiError(error.status, error.code, `failed to delete snapshot - ${error.message}`);
  return error;
}

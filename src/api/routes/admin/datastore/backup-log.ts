// POST /admin/datastore/{store}/upload-backup-log: the log of a client's backup, kept beside the snapshot. `download` gives it back.
import { Type } from 'typebox';
import { asBlob, MAX_CLIENT_LOG_BYTES } from '../../../../datastore/snapshots/client-log.ts';
import { defineMethod } from '../../../method.ts';
import { changing, findSnapshot } from '../../../snapshots/owned-groups.ts';
import { Nothing, OfSnapshot } from '../../parameters.ts';
import { onContent } from './rules.ts';

export const BACKUP_LOG_METHODS = [
  defineMethod({
    method: 'POST',
    path: '/admin/datastore/{store}/upload-backup-log',
    description:
      'Puts the log of a backup beside its snapshot, as client.log.blob: text, or a blob of a Proxmox client. A second one is refused.',
    access: onContent(['Datastore.Modify'], 'Datastore.Backup'),
    parameters: Type.Object(OfSnapshot),
    takesBytes: true,
    maxBodyBytes: MAX_CLIENT_LOG_BYTES,
    returns: Nothing,
    handler: async (call, where) => {
      const { open, name } = await findSnapshot(call, where);
      const blob = asBlob(call.body);
      await changing(where.store, () => open.store.keeping.addClientLog(name, blob));
      return null;
    },
  }),
];

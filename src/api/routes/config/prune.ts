// /config/prune and /admin/prune: jobs that remove what the keep rules do not keep.
import { Type } from 'typebox';
import { jobMethods } from '../../jobs/job-methods.ts';
import { KeepRules } from '../parameters.ts';

const groups = (description: string) =>
  Type.Optional(Type.Array(Type.String({ description: 'TYPE/ID.' }), { description }));

export const PRUNE_JOB_METHODS = jobMethods({
  kind: 'prune',
  word: 'prune',
  options: KeepRules,
  shownOptions: {
    groups: groups('Only these groups.'),
    'exclude-groups': groups('All groups but these.'),
  },
  isByHand: false,
  looks: ['Datastore.Audit', 'Datastore.Modify'],
  changes: 'Datastore.Modify',
});

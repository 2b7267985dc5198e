// /config/prune and /admin/prune: jobs that remove what the keep rules do not keep.
import { Type } from 'typebox';
import { jobMethods } from '../../jobs/job-methods.ts';
import { KeepRules } from '../parameters.ts';

export const PRUNE_JOB_METHODS = jobMethods({
  kind: 'prune',
  word: 'prune',
  options: KeepRules,
  shownOptions: {
    groups: Type.Optional(Type.Array(Type.String(), { description: 'Only these groups, as TYPE/ID; all without it.' })),
  },
  isByHand: false,
  looks: ['Datastore.Audit', 'Datastore.Modify'],
  changes: 'Datastore.Modify',
});

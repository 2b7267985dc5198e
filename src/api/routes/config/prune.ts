// /config/prune and /admin/prune: jobs that remove what the keep rules do not keep.
import { Type } from 'typebox';
import { MAX_NAMESPACE_DEPTH } from '../../../schema/names.ts';
import { jobMethods } from '../../jobs/job-methods.ts';
import { KeepRules } from '../parameters.ts';

export const PRUNE_JOB_METHODS = jobMethods({
  kind: 'prune',
  word: 'prune',
  options: {
    'max-depth': Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_NAMESPACE_DEPTH })),
    ...KeepRules,
  },
  isByHand: false,
  looks: ['Datastore.Audit', 'Datastore.Modify'],
  changes: 'Datastore.Modify',
});

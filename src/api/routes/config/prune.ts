// /config/prune and /admin/prune: jobs that remove what the keep rules do not keep.
import { jobMethods } from '../../jobs/job-methods.ts';
import { KeepRules } from '../parameters.ts';

export const PRUNE_JOB_METHODS = jobMethods({
  kind: 'prune',
  word: 'prune',
  options: KeepRules,
  isByHand: false,
  looks: ['Datastore.Audit', 'Datastore.Modify'],
  changes: 'Datastore.Modify',
});

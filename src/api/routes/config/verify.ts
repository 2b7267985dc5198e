// /config/verify and /admin/verify: jobs that read whether all is there and whole.
import { Type } from 'typebox';
import { jobMethods } from '../../jobs/job-methods.ts';

export const VERIFY_JOB_METHODS = jobMethods({
  kind: 'verify',
  word: 'verification',
  options: {
    'ignore-verified': Type.Optional(
      Type.Boolean({ description: 'What was verified already is left out; by default.' }),
    ),
    'outdated-after': Type.Optional(
      Type.Integer({ minimum: 0, maximum: 100_000, description: 'Days after which a verification does not count.' }),
    ),
  },
  isByHand: true,
  looks: ['Datastore.Audit', 'Datastore.Verify'],
  changes: 'Datastore.Verify',
});

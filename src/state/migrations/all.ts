// The steps of the state database's schema, in order. A new one gets one line here, and test/vectors/state-schema-N.sql what it makes.
import { access } from './0001-access.ts';
import { tasks } from './0002-tasks.ts';
import { datastores } from './0003-datastores.ts';
import { nodes } from './0004-nodes.ts';
import { jobs } from './0005-jobs.ts';
import { notify } from './0006-notify.ts';
import { jobPunctuality } from './0008-job-punctuality.ts';
import type { Migration } from './migration.ts';

/** Its place is that of the pools, which are made elsewhere at the same time. */
const reserved: Migration = { version: 7, up: '' };

export const MIGRATIONS: readonly Migration[] = [
  ...[access, tasks, datastores, nodes, jobs, notify, reserved],
  jobPunctuality,
];

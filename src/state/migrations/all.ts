// The steps of the state database's schema, in order. A new one gets one line here, and test/vectors/state-schema-N.sql what it makes.
import { access } from './0001-access.ts';
import { tasks } from './0002-tasks.ts';
import { datastores } from './0003-datastores.ts';
import { nodes } from './0004-nodes.ts';
import { jobs } from './0005-jobs.ts';
import { notify } from './0006-notify.ts';
import { pools } from './0007-pools.ts';
import { jobPunctuality } from './0008-job-punctuality.ts';
import type { Migration } from './migration.ts';

export const MIGRATIONS: readonly Migration[] = [access, tasks, datastores, nodes, jobs, notify, pools, jobPunctuality];

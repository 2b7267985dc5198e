// Every method of the backup dialect.
import type { AnyMethod } from '../method.ts';
import { ACL_METHODS } from './access/acl.ts';
import { AUDIT_METHODS } from './access/audit.ts';
import { DOMAIN_METHODS } from './access/domains.ts';
import { PASSWORD_METHODS } from './access/password.ts';
import { PERMISSION_METHODS } from './access/permissions.ts';
import { ROLE_METHODS } from './access/roles.ts';
import { TFA_METHODS } from './access/tfa.ts';
import { TICKET_METHODS } from './access/ticket.ts';
import { TOKEN_METHODS } from './access/tokens.ts';
import { USER_METHODS } from './access/users.ts';
import { BACKUP_LOG_METHODS } from './admin/datastore/backup-log.ts';
import { CATALOG_METHODS } from './admin/datastore/catalog.ts';
import { DOWNLOAD_METHODS } from './admin/datastore/download.ts';
import { GC_METHODS } from './admin/datastore/gc.ts';
import { GROUP_METHODS } from './admin/datastore/groups.ts';
import { STORE_LIST_METHODS } from './admin/datastore/list.ts';
import { NAMESPACE_METHODS } from './admin/datastore/namespace.ts';
import { OPERATION_METHODS } from './admin/datastore/operation.ts';
import { PRUNE_METHODS } from './admin/datastore/prune.ts';
import { QUERY_METHODS } from './admin/datastore/query.ts';
import { SESSION_METHODS } from './admin/datastore/sessions.ts';
import { SNAPSHOT_METHODS } from './admin/datastore/snapshots.ts';
import { STATUS_METHODS } from './admin/datastore/status.ts';
import { VERIFY_METHODS } from './admin/datastore/verify.ts';
import { DATASTORE_CONFIG_METHODS } from './config/datastore.ts';
import { JOB_METHODS } from './config/jobs.ts';
import { NODE_CONFIG_METHODS } from './config/node.ts';
import { MATCHER_METHODS } from './config/notifications/matchers.ts';
import { NOTIFICATION_ROUND_METHODS } from './config/notifications/rounds.ts';
import { SMTP_METHODS } from './config/notifications/smtp.ts';
import { NOTIFICATION_TARGET_METHODS } from './config/notifications/targets.ts';
import { WEBHOOK_METHODS } from './config/notifications/webhook.ts';
import { POOL_METHODS } from './config/pools.ts';
import { PRUNE_JOB_METHODS } from './config/prune.ts';
import { VERIFY_JOB_METHODS } from './config/verify.ts';
import { AGENT_METHODS } from './nodes/agent.ts';
import { NODE_METHODS } from './nodes/node.ts';
import { TASK_METHODS } from './nodes/tasks.ts';
import { USAGE_METHODS } from './status/datastore-usage.ts';
import { VERSION_METHODS } from './version.ts';

export const METHODS: readonly AnyMethod[] = [
  ...VERSION_METHODS,
  ...TICKET_METHODS,
  ...DOMAIN_METHODS,
  ...PERMISSION_METHODS,
  ...USER_METHODS,
  ...TOKEN_METHODS,
  ...ROLE_METHODS,
  ...ACL_METHODS,
  ...PASSWORD_METHODS,
  ...TFA_METHODS,
  ...AUDIT_METHODS,
  ...POOL_METHODS,
  ...QUERY_METHODS,
  ...OPERATION_METHODS,
  ...STORE_LIST_METHODS,
  ...STATUS_METHODS,
  ...GROUP_METHODS,
  ...SNAPSHOT_METHODS,
  ...CATALOG_METHODS,
  ...DOWNLOAD_METHODS,
  ...BACKUP_LOG_METHODS,
  ...NAMESPACE_METHODS,
  ...PRUNE_METHODS,
  ...GC_METHODS,
  ...VERIFY_METHODS,
  ...SESSION_METHODS,
  ...DATASTORE_CONFIG_METHODS,
  ...NODE_CONFIG_METHODS,
  ...SMTP_METHODS,
  ...WEBHOOK_METHODS,
  ...PRUNE_JOB_METHODS,
  ...VERIFY_JOB_METHODS,
  ...JOB_METHODS,
  ...MATCHER_METHODS,
  ...NOTIFICATION_TARGET_METHODS,
  ...NOTIFICATION_ROUND_METHODS,
  ...NODE_METHODS,
  ...AGENT_METHODS,
  ...TASK_METHODS,
  ...USAGE_METHODS,
];

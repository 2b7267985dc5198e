// Every method of the backup dialect.
import type { AnyMethod } from '../method.ts';
import { ACL_METHODS } from './access/acl.ts';
import { DOMAIN_METHODS } from './access/domains.ts';
import { PASSWORD_METHODS } from './access/password.ts';
import { PERMISSION_METHODS } from './access/permissions.ts';
import { ROLE_METHODS } from './access/roles.ts';
import { TFA_METHODS } from './access/tfa.ts';
import { TICKET_METHODS } from './access/ticket.ts';
import { TOKEN_METHODS } from './access/tokens.ts';
import { USER_METHODS } from './access/users.ts';
import { OPERATION_METHODS } from './admin/datastore/operation.ts';
import { QUERY_METHODS } from './admin/datastore/query.ts';
import { TASK_RESULT_METHODS } from './nodes/task-result.ts';
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
  ...QUERY_METHODS,
  ...OPERATION_METHODS,
  ...TASK_RESULT_METHODS,
];

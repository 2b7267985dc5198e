// Every method of the guest dialect.
import type { AnyMethod } from '../../method.ts';
import { PASSWORD_METHODS } from '../../routes/access/password.ts';
import { ACL_METHODS } from './access/acl.ts';
import { ACCESS_METHODS } from './access/realms-and-roles.ts';
import { TICKET_METHODS } from './access/ticket.ts';
import { TOKEN_METHODS } from './access/tokens.ts';
import { USER_METHODS } from './access/users.ts';
import { BACKUP_JOB_METHODS } from './cluster/backup-jobs.ts';
import { CLUSTER_METHODS } from './cluster/cluster.ts';
import { NODE_METHODS } from './nodes/node.ts';
import { TASK_METHODS } from './nodes/tasks.ts';
import { VZDUMP_METHODS } from './nodes/vzdump.ts';
import { NOTHING_HERE_METHODS } from './nothing-here.ts';
import { POOL_METHODS } from './pools.ts';
import { VM_AGENT_METHODS } from './qemu/agent.ts';
import { VM_CONFIG_METHODS } from './qemu/config.ts';
import { VM_CONSOLE_METHODS } from './qemu/console.ts';
import { VM_DISK_METHODS } from './qemu/disks.ts';
import { VM_METHODS } from './qemu/list.ts';
import { VM_SNAPSHOT_METHODS } from './qemu/snapshots.ts';
import { VM_STATUS_METHODS } from './qemu/status.ts';
import { CONTENT_METHODS } from './storage/content.ts';
import { STORAGE_METHODS } from './storage/storages.ts';
import { VERSION_METHODS } from './version.ts';

export const GUEST_METHODS: readonly AnyMethod[] = [
  ...VERSION_METHODS,
  ...TICKET_METHODS,
  ...ACCESS_METHODS,
  ...PASSWORD_METHODS,
  ...USER_METHODS,
  ...TOKEN_METHODS,
  ...ACL_METHODS,
  ...CLUSTER_METHODS,
  ...BACKUP_JOB_METHODS,
  ...NODE_METHODS,
  ...TASK_METHODS,
  ...VZDUMP_METHODS,
  ...VM_METHODS,
  ...VM_CONFIG_METHODS,
  ...VM_STATUS_METHODS,
  ...VM_SNAPSHOT_METHODS,
  ...VM_DISK_METHODS,
  ...VM_AGENT_METHODS,
  ...VM_CONSOLE_METHODS,
  ...STORAGE_METHODS,
  ...CONTENT_METHODS,
  ...POOL_METHODS,
  ...NOTHING_HERE_METHODS,
];

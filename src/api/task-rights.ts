// Tasks of others: who may look at them, and who may end them.
import { denied } from './check-access.ts';
import { type BaseCall, callerOf, type PrivilegeRule } from './method.ts';
import { owns } from './snapshots/owned-groups.ts';

/** Lets through the user of the task and its tokens, and whoever has a privilege of `rule`. @throws ApiError 403. */
export function requireTask(call: BaseCall, user: string, rule: PrivilegeRule): void {
  const caller = callerOf(call);
  if (owns(caller, user) || rule.anyOf.some((each) => call.services.permissions.has(caller, rule.path, each))) return;
  throw denied(caller, rule);
}

// Who asks, for the audit log.
import type { Actor } from '../../auth/audit-log.ts';
import { type BaseCall, callerOf } from '../method.ts';

export function actorOf(call: BaseCall): Actor {
  return { authId: callerOf(call), address: call.address };
}

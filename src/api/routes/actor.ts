// Who asks, for the audit log.
import type { Actor } from '../../auth/audit-log.ts';
import { type Call, callerOf } from '../method.ts';

export function actorOf(call: Call): Actor {
  return { authId: callerOf(call), address: call.address };
}

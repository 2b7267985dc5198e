// Who asks, for the audit log.
import { type Call, callerOf } from '../method.ts';
import type { Actor } from '../services.ts';

export function actorOf(call: Call): Actor {
  return { authId: callerOf(call), address: call.address };
}

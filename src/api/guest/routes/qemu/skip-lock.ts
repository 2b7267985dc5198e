// Who may pass over a guest's lock.
import { ROOT_USER } from '../../../../schema/auth-id.ts';
import { ParameterError } from '../../../dialect/failure.ts';
import { callerOf } from '../../../method.ts';
import type { GuestCall } from '../../method.ts';

/** @throws ParameterError in Proxmox VE's words for everybody but root@pam itself. */
export function requireRootFor(call: GuestCall, skipLock: boolean): void {
  if (skipLock && callerOf(call) !== ROOT_USER)
    throw new ParameterError([['skiplock', 'Only root may use this option.']]);
}

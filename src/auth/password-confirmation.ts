// Asks whoever changes a password or a second factor for the own password once more, so that an unattended browser is not enough. Slowed
// down like sign-ins. root@pam is not asked, as with Proxmox.
import { ROOT_USER, userOf } from '../schema/auth-id.ts';
import { HoldfastError } from '../util/errors.ts';
import type { UserStore } from './access-store.ts';
import type { Actor, AuditLog } from './audit-log.ts';
import type { LoginThrottle } from './login-throttle.ts';
import type { PasswordHashing } from './passwords.ts';

export class PasswordConfirmation {
  readonly #users: Pick<UserStore, 'find'>;
  readonly #passwords: PasswordHashing;
  readonly #throttle: LoginThrottle;
  readonly #audit: Pick<AuditLog, 'append'>;

  constructor(
    users: Pick<UserStore, 'find'>,
    passwords: PasswordHashing,
    throttle: LoginThrottle,
    audit: Pick<AuditLog, 'append'>,
  ) {
    this.#users = users;
    this.#passwords = passwords;
    this.#throttle = throttle;
    this.#audit = audit;
  }

  /** Throws `bad-argument` without a password, `not-authenticated` for a wrong one, `login-throttled`. */
  async require(actor: Actor, password: string | undefined): Promise<void> {
    const user = userOf(actor.authId);
    if (user === ROOT_USER) return;
    if (password === undefined)
      throw new HoldfastError('bad-argument', 'give your own current password as a confirmation of this change');
    const attempt = this.#throttle.admit(user, actor.address);
    try {
      if (await this.#passwords.verify(this.#users.find(user)?.passwordHash, password)) {
        attempt.succeeded();
        return;
      }
      attempt.failed();
      const detail = { step: 'confirmation' };
      this.#audit.append({ action: 'login-failed', by: user, address: actor.address, object: user, detail });
      throw new HoldfastError('not-authenticated', 'the confirmation is not your current password');
    } finally {
      attempt.dropped();
    }
  }
}

// Puts the parts of access control together over one place where everything is kept: for the daemon and for the command line.
import { Access } from './access.ts';
import { AccessRules } from './access-rules.ts';
import type { AclStore, SecretStore, TokenStore, Transactions, UserStore } from './access-store.ts';
import { AclChanges } from './acl-changes.ts';
import type { AuditLog } from './audit-log.ts';
import { Authenticator } from './authenticator.ts';
import { createRoot, openTickets } from './first-start.ts';
import { LoginThrottle } from './login-throttle.ts';
import { PasswordConfirmation } from './password-confirmation.ts';
import { Argon2Passwords, type PasswordHashing } from './passwords.ts';
import { Permissions, type RightsSource } from './permissions.ts';
import type { PoolStore } from './pool-store.ts';
import { Pools } from './pools.ts';
import { QuietFailures } from './quiet-failures.ts';
import type { SecondFactorStore } from './second-factor-store.ts';
import { SecondFactors } from './second-factors.ts';
import { SignIn } from './sign-in.ts';
import { TfaEnrolment } from './tfa-enrolment.ts';
import { TokenAccounts } from './token-accounts.ts';
import { UserAccounts } from './user-accounts.ts';

/** Where access control keeps what it keeps. */
export interface AccessStores {
  readonly users: UserStore;
  readonly tokens: TokenStore;
  readonly acl: AclStore;
  readonly pools: PoolStore;
  readonly secondFactors: SecondFactorStore;
  readonly secrets: SecretStore;
  readonly audit: AuditLog;
  readonly rights: RightsSource;
  readonly transactions: Transactions;
}

export interface AccessServices {
  readonly access: Access;
  readonly authenticator: Authenticator;
  readonly permissions: Permissions;
  readonly pools: Pools;
  /** For other secrets than passwords. */
  readonly throttle: LoginThrottle;
  readonly failures: QuietFailures;
  /** Makes root@pam at the first start, and returns its password then. */
  createRoot(): Promise<string | undefined>;
}

/** `clock` gives Unix milliseconds. */
export function accessServices(
  stores: AccessStores,
  clock: () => number = Date.now,
  passwords: PasswordHashing = new Argon2Passwords(),
): AccessServices {
  const { users, tokens, acl, secondFactors, transactions, audit } = stores;
  const permissions = new Permissions(stores.rights, clock);
  const rules = new AccessRules(permissions);
  const throttle = new LoginThrottle(clock);
  const confirmation = new PasswordConfirmation(users, passwords, throttle, audit);
  const failures = new QuietFailures(audit, clock);
  const tickets = openTickets(stores.secrets, transactions);
  const signIn = new SignIn({
    users,
    tickets,
    passwords,
    secondFactors: new SecondFactors(secondFactors, transactions),
    throttle,
    audit,
    failures,
    clock,
  });
  const shared = { users, tokens, acl, secondFactors, transactions, rules, audit, clock, confirmation, passwords };
  return {
    access: new Access({
      users: new UserAccounts(shared),
      tokens: new TokenAccounts(shared),
      acl: new AclChanges(shared),
      tfa: new TfaEnrolment(shared),
      rules,
      permissions,
      audit,
    }),
    authenticator: new Authenticator({ users, tokens, tickets, signIn, failures }),
    permissions,
    pools: new Pools({ store: stores.pools, acl, transactions, permissions, audit }),
    throttle,
    failures,
    createRoot: () => createRoot({ users, transactions, passwords, audit }),
  };
}
